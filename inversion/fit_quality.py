"""The quality code of an image whose content is known."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlib.config import require
from networks.generators.interface import Generator, Noise
from networks.generators.window import middle
from networks.latents import Latents
from torch_utils.purposes import FOR_QUALITY
from torch_utils.seeding import BatchRandom

WINDOW = 64  # smallest side of what is compared, in pixels; of larger images a quarter of the side
MARGIN = 8  # pixels around it that are rendered besides, since a border changes its neighbours
START = 0.1  # spread of the starting point: near the sharp image, where the gradient depends on the direction


@dataclass(frozen=True)
class QualityOptions:
    """How `q` is fitted where an encoder gives w alone.

    Attributes:
        steps: steps of Adam; with many more the squared error falls by 5 % at most.
        lr: learning rate of Adam.
    """

    steps: int = 12
    lr: float = 0.15

    def __post_init__(self) -> None:
        require(self.steps >= 1, "quality.steps", self.steps, "at least 0")
        require(self.lr > 0, "quality.lr", self.lr, "above 0")


def fit_quality(
    G: Generator,
    latents: Latents,
    noise: Noise,
    targets: Tensor,
    steps: int = QualityOptions.steps,
    lr: float = QualityOptions.lr,
    seed: int = 0,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Return the codes `q [N, q_dim]` for which `G(w, q)` is closest to the targets, in squared error, by Adam.

    What precedes the DegradBlocks runs once, and a square in the middle tells as much of a degradation as all of the
    image. Each image is fitted for itself, from the same start as all others, so that its code depends on nothing else
    in its batch.

    Args:
        G: QC generator, frozen.
        latents: codes of the content; their own `q` has no effect.
        noise: every layer's, as the images have it.
        targets: float `[N, C, R, R]` in [-1, 1].
        steps: steps of Adam.
        lr: learning rate of Adam.
        seed: seed of the starting point.
        on_step: called with the number of steps taken.
    """
    with torch.no_grad():
        content = G.synthesis.content(latents, noise)
    resolution = G.img_resolution
    content, pixels = middle(content, resolution, max(WINDOW, resolution // 4) + 2 * MARGIN)
    targets = targets[:, :, pixels, pixels]
    inner = slice(MARGIN, -MARGIN) if targets.shape[2] < resolution else slice(None)
    start = START * BatchRandom((seed, FOR_QUALITY), 1).randn(G.q_dim)  # [1, q_dim]
    q = start.repeat(len(latents), 1).to(G.device).requires_grad_(True)
    optimizer = torch.optim.Adam([q], lr=lr, betas=(0.9, 0.99))
    for step in range(steps):
        images = G.synthesis.image(content, q)
        loss = (images - targets)[:, :, inner, inner].square().mean((1, 2, 3)).sum()
        (q.grad,) = torch.autograd.grad(loss, q)
        optimizer.step()
        on_step(step + 1)
    return q.detach()
