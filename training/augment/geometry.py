"""Pixel blitting and general geometric transformations, carried out as one warp.

Positions are in pixels from the centre of the image, x to the right and y down. Each transformation G_k is kept as
its inverse, since warping asks where an output pixel comes from: (G_n ... G_1)^-1 = G_1^-1 ... G_n^-1.
"""

import math

import torch
from torch import Tensor

from torch_utils.ops.grid_sample import grid_sample
from training.augment.config import AugmentPipeConfig
from training.augment.draws import Draws, where_active
from training.augment.filters import RESAMPLE_MARGIN, along_axes, doubling_matrix, halving_matrix, mirror_period

_MULTIPLIERS = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac")
_PARAMETERS = (*_MULTIPLIERS, "rotate_again")


def augment_geometry(images: Tensor, draws: Draws, config: AugmentPipeConfig) -> Tensor:
    """Move the content of `images [N, C, H, W]`; what comes in at the borders is mirrored."""
    if not any(getattr(config, name) for name in _MULTIPLIERS):
        return images
    height, width = images.shape[2:]
    return where_active(draws.active(_PARAMETERS), warp, images, lookup(draws, width, height))


def warp(images: Tensor, lookup: Tensor) -> Tensor:
    """Put at each position r of the output what `images [N, C, H, W]` show at `lookup [N, 2, 3] @ (r, 1)`.

    Against aliasing, the lookup is bilinear at twice the resolution, with the same wavelet before and after
    (appendix B). One period of the mirrored image is all of it, so no padding depends on how far anything moves.
    """
    height, width = images.shape[2:]
    constant = {"dtype": images.dtype, "device": images.device}
    doubled = along_axes(images, doubling_matrix(height, **constant), doubling_matrix(width, **constant))
    sampled = grid_sample(doubled, _sampling_grid(lookup, width, height))
    return along_axes(sampled, halving_matrix(height, **constant), halving_matrix(width, **constant))


def _sampling_grid(lookup: Tensor, width: int, height: int) -> Tensor:
    """Where each sample of the doubled output lies in the doubled period, as grid_sample wants it: [N, H', W', 2]."""
    x = _doubled_positions(width, lookup)  # [W']
    y = _doubled_positions(height, lookup)[:, None]  # [H', 1]
    grid = x.new_empty(len(lookup), y.numel(), x.numel(), 2)
    for axis, size in enumerate((width, height)):
        period = 2 * mirror_period(size)
        along_x, along_y, shift = (lookup[:, axis] / period).view(-1, 3, 1, 1).unbind(1)
        turns = along_x * x + (along_y * y + (2 * shift + (size - 1) / period))  # [N, H', W'], periods from sample 0
        samples = turns.sub_(turns.floor()).mul_(period)
        grid[..., axis] = samples.add_(0.5).mul_(2 / (period + 1)).sub_(1)
    return grid


def _doubled_positions(size: int, like: Tensor) -> Tensor:
    """Positions of the samples that halving reads, in half pixels from the centre."""
    samples = torch.arange(2 * size + 2 * RESAMPLE_MARGIN, dtype=like.dtype, device=like.device)
    return samples - (RESAMPLE_MARGIN + size - 1)


def lookup(draws: Draws, width: int, height: int) -> Tensor:
    """Return `[N, 2, 3]`, where each output pixel comes from: the inverses in the order in which images are changed.

    These are a flip F, quarter turns Q, a shift t by whole pixels, a scaling s, a rotation R, an anisotropic scaling A,
    a second rotation R', and a shift x. Scalings commute with rotations, so F Q (s R A R' (r + x) + t) has the linear
    part F (Q R) (s A) R' and the offset F Q t + F (Q R) (s A) R' x.
    """
    quarters, flip = draws["rotate90"] / 2, 1 - 2 * draws["xflip"]
    turns = torch.stack([quarters, quarters + draws["rotate"], draws["rotate_again"]])  # [3, N], half turns
    first, both, last = _rotations(turns * math.pi)  # [N, 2, 2] each
    mirror = torch.stack([flip, torch.ones_like(flip)], dim=1)[:, :, None]  # [N, 2, 1]
    stretch = torch.stack([draws["aniso"], -draws["aniso"]], dim=1).add(draws["scale"][:, None]).neg().exp2()  # [N, 2]
    linear = _product(mirror * both * stretch[:, None], last)
    whole = _in_pixels(draws["xint"], width, height).round()
    offset = _product(linear, _in_pixels(draws["xfrac"], width, height)) + _product(mirror * first, whole)
    return torch.cat([linear, -offset], dim=2)


def _rotations(angles: Tensor) -> Tensor:
    """Return matrices `[..., 2, 2]` for angles in radians."""
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))


def _in_pixels(shift: Tensor, width: int, height: int) -> Tensor:
    """Return `[N, 2, 1]` for shifts `[N, 2]` as shares of width and height."""
    return torch.stack([shift[:, 0] * width, shift[:, 1] * height], dim=1)[:, :, None]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of matrices `[N, I, J]` and `[N, J, K]` in full precision.

    In tf32 it would be off by a tenth of a pixel.
    """
    return (a[:, :, :, None] * b[:, None]).sum(2)
