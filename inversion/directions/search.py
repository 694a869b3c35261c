"""The search for editing directions: its options, and the methods that do it (SeFa, PCA, InterFaceGAN)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from dnnlib.config import require
from inversion.directions.direction import Direction
from inversion.directions.methods import METHODS
from inversion.directions.seed_labels import SeedLabels
from networks.generators.interface import Generator


@dataclass(frozen=True)
class Search:
    """Options of a search for directions.

    Attributes:
        count: number of directions that SeFa and PCA return, the strongest first.
        layers: numbers of the `ws` that directions apply to; None: all. SeFa uses the weights of these layers alone.
        samples: number of sampled w; for scorers they have the seeds 0 to samples - 1.
        class_index: class of a conditional network; None: all its classes.
        scorers: functions of images `[N, C, R, R]` in [-1, 1] to scores `[N]`, by name; InterFaceGAN finds a direction
            for each.
        labels: labels or scores by seed, by name; InterFaceGAN finds a direction for each of them too.
        ends: share of the samples at either end of a score, which the boundary separates. The paper has 0.02 of
            500,000; of 10,000, planted directions are found most closely with 0.3.
        without: directions that InterFaceGAN's directions leave unchanged (conditional manipulation).
        batch: images that are rendered at once.
    """

    count: int = 8
    layers: tuple[int, ...] | None = None
    samples: int = 10_000
    class_index: int | None = None
    scorers: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    labels: Mapping[str, SeedLabels] = field(default_factory=dict)
    ends: float = 0.3
    without: tuple[Direction, ...] = ()
    batch: int = 32

    def __post_init__(self) -> None:
        require(self.count >= 1, "-k", self.count, "at least 1")
        require(self.samples >= 2, "--samples", self.samples, "at least 2")
        require(0 < self.ends <= 0.5, "--ends", self.ends, "above 0 and at most 0.5")
        require(self.batch >= 1, "--batch", self.batch, "at least 1")


def find_directions(G: Generator, method: str, search: Search) -> list[Direction]:
    """Return the directions that a method finds; raise UserError for an unknown one, or an impossible search."""
    return METHODS.get(method).find(G, search)
