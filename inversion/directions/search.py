"""What is asked of a method that finds editing directions."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dnnlib.config import require
from dnnlib.registry import Registry
from inversion.directions.direction import Direction
from inversion.directions.seed_labels import SeedLabels
from networks.generators.interface import Generator

# Each has `find(G: Generator, search: Search) -> list[Direction]`.
METHODS = Registry("inversion.directions.methods", "method")


@dataclass(frozen=True)
class Search:
    """How directions are looked for.

    Attributes:
        count: directions that SeFa and PCA return, the strongest first.
        layers: numbers of the `ws` that they apply to; None: all. SeFa looks at the weights of these alone.
        samples: w that are sampled; for scorers these are of seeds 0 to samples - 1.
        class_index: of a conditional network; None: all its classes.
        scorers: InterFaceGAN finds a direction for each, by name; images `[N, C, R, R]` in [-1, 1] to scores `[N]`.
        labels: and for each of these, whose seeds are those of the file.
        ends: share of the samples at either end of a score that the boundary is drawn between. The paper has 0.02 of
            500,000; of 10,000, planted directions are found most closely with 0.3.
        without: what InterFaceGAN's directions leave unchanged (conditional manipulation).
        batch: images that are rendered at once.
    """

    count: int = 8
    layers: tuple[int, ...] | None = None
    samples: int = 10_000
    class_index: int | None = None
    scorers: dict[str, Callable[[Tensor], Tensor]] | None = None
    labels: dict[str, SeedLabels] | None = None
    ends: float = 0.3
    without: tuple[Direction, ...] = ()
    batch: int = 32

    def __post_init__(self):
        require(self.count >= 1, "-k", self.count, "at least 1")
        require(self.samples >= 2, "--samples", self.samples, "at least 2")
        require(0 < self.ends <= 0.5, "--ends", self.ends, "above 0 and at most 0.5")
        require(self.batch >= 1, "--batch", self.batch, "at least 1")


def find_directions(G: Generator, method: str, search: Search) -> list[Direction]:
    """Return the directions that a method finds; raise UserError for an unknown one, or a search that it cannot do."""
    return METHODS.get(method).find(G, search)
