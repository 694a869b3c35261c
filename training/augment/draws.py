"""Random parameters of augmentations, and which images they leave as they are."""

from collections.abc import Callable

import torch
from torch import Tensor

from torch_utils.seeding import BatchRandom


class Draws:
    """Draws for one stage of the pipe, one value for each image.

    What is drawn, and how often, never depends on p: closing a gate replaces a value, it doesn't skip the draw.

    Args:
        rng: source of every draw.
        p: overall probability, scalar float32.
        like: tensor whose dtype and device the parameters get.
        debug_percentile: puts every parameter at this point q of its distribution, with all gates open: uniform ones
            at q, normal ones at erfinv(2q - 1) standard deviations, as the field's reference numbers have it.
    """

    def __init__(self, rng: BatchRandom, p: Tensor, like: Tensor, debug_percentile: float | None = None):
        self.rng = rng
        self.like = like
        self.debug_percentile = debug_percentile
        self.p = p if debug_percentile is None else torch.ones_like(p)
        self.active = torch.zeros(len(rng), dtype=torch.bool, device=like.device)  # images that any value changes

    def uniform(self, *shape: int) -> Tensor:
        """Draw `[N, *shape]` from 0..1."""
        values = self.rng.rand(*shape).to(self.like)
        return values if self.debug_percentile is None else torch.full_like(values, self.debug_percentile)

    def normal(self, *shape: int) -> Tensor:
        """Draw `[N, *shape]` from the standard normal distribution."""
        values = self.rng.randn(*shape).to(self.like)
        if self.debug_percentile is None:
            return values
        return torch.full_like(values, 2 * self.debug_percentile - 1).erfinv()

    def half_normal(self) -> Tensor:
        """Draw `[N]` magnitudes of standard normal numbers."""
        if self.debug_percentile is None:
            return self.normal().abs()
        return torch.full_like(self.normal(), self.debug_percentile).erfinv()

    def gated(self, probability: Tensor, values: Tensor, neutral: float) -> Tensor:
        """Keep each image's `values [N, ...]` with this probability, else put `neutral`; note whom it changes."""
        gates = self.rng.rand().to(probability.device)
        if self.debug_percentile is not None:
            gates = torch.zeros_like(gates)
        is_open = (gates < probability).view(-1, *[1] * (values.ndim - 1))
        values = torch.where(is_open, values, neutral)
        self.active |= (values != neutral).flatten(1).any(1) if values.ndim > 1 else values != neutral
        return values


def where_active(active: Tensor, transform: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    """Return `transform(images, *parameters)` in the rows where `active [N]` holds, and `images` in the others.

    A CPU computes only the active rows. A GPU computes them all, because its host would have to wait for the count.
    """
    if images.device.type != "cpu":
        return torch.where(active.view(-1, 1, 1, 1), transform(images, *parameters), images)
    rows = active.nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    if len(rows) == len(images):
        return transform(images, *parameters)
    return images.index_copy(0, rows, transform(images[rows], *(values[rows] for values in parameters)))
