"""The quality code of an image, beside codes of its content.

Where the content is known to the pixel, `G(w, q)` is compared with the image itself. Codes that an encoder finds of a
photo err in content by far more than a degradation changes, so that pixels tell nothing of `q`; the traces that
degradations leave do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlib.config import require
from inversion.adam import Adam
from inversion.quality.compared_part import ComparedPart
from inversion.quality.trace_distance import Distance, trace_distance
from networks.generators.interface import Generator, Noise
from networks.latents import Latents
from torch_utils.purposes import FOR_QUALITY
from torch_utils.seeding import BatchRandom

START = 0.1  # spread of the starting point: near the sharp image, where the gradient depends on the direction
COMPARISONS = ("traces", "pixels")


@dataclass(frozen=True)
class QualityOptions:
    """How `q` is fitted where an encoder gives w alone.

    Attributes:
        steps: steps of Adam; with many more the error falls by 5 % at most.
        lr: learning rate of Adam.
        compare: what of `G(w, q)` and the photo is compared, `traces` (see `inversion.quality.traces`) or `pixels`.
        candidates: number of random codes of which each photo's closest is the start, where traces are compared; 0:
            all start at the same code, so that their codes may be compared with each other.
    """

    steps: int = 12
    lr: float = 0.15
    compare: str = "traces"
    candidates: int = 8

    def __post_init__(self) -> None:
        require(self.steps >= 1, "quality.steps", self.steps, "at least 0")
        require(self.lr > 0, "quality.lr", self.lr, "above 0")
        require(self.candidates >= 0, "quality.candidates", self.candidates, "at least 0")
        require(self.compare in COMPARISONS, "quality.compare", self.compare, " or ".join(COMPARISONS))


def fit_quality(
    G: Generator,
    latents: Latents,
    noise: Noise,
    targets: Tensor,
    options: QualityOptions | None = None,
    seed: int = 0,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Return the codes `q [N, q_dim]` for which `G(w, q)` is closest to the targets, by Adam.

    What precedes the DegradBlocks runs once. Each image is fitted for itself, from one of the starts that all have, so
    that its code depends on nothing else in its batch.

    Args:
        G: QC generator, frozen.
        latents: codes of the content; their own `q` has no effect.
        noise: every layer's, as the images have it.
        targets: float `[N, C, R, R]` in [-1, 1].
        options: steps, and what is compared.
        seed: seed of the starting point.
        on_step: called with the number of steps taken.
    """
    options = options or QualityOptions()
    with torch.no_grad():
        part = ComparedPart(G, G.synthesis.content(latents, noise))
        distance = _distance(options.compare, part, targets)
    drawn = BatchRandom((seed, FOR_QUALITY), 1).randn(1 + options.candidates, G.q_dim)[0].to(G.device)
    q = (START * drawn[:1]).repeat(len(latents), 1)  # [N, q_dim]
    if options.compare == "traces" and options.candidates > 0:
        with torch.no_grad():
            q = _closest(drawn[1:], lambda codes: distance(part.render(codes), codes), q)
    q.requires_grad_(True)
    optimizer = Adam(betas=(0.9, 0.99))
    optimizer.add([q], options.lr)
    for step in range(options.steps):
        optimizer.step(torch.autograd.grad(distance(part.render(q), q).sum(), q))
        on_step(step + 1)
    return q.detach()


def _closest(candidates: Tensor, distance: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Return for each image the code of least distance, `[N, q_dim]`, of `start` and the candidates `[K, q_dim]`."""
    codes = [start, *(candidate.repeat(len(start), 1) for candidate in candidates)]
    nearest = torch.stack([distance(each) for each in codes]).argmin(0)  # [N]
    return torch.stack(codes)[nearest, torch.arange(len(start), device=start.device)]


def _distance(compare: str, part: ComparedPart, targets: Tensor) -> Distance:
    """Return how a part of images is compared with that of targets `[N, C, R, R]`: by traces, or by pixels' squares."""
    wanted = part.cut(targets)
    if compare == "traces":
        return trace_distance(wanted, part.render(None))
    return lambda images, q: (images - wanted).square().mean((1, 2, 3))
