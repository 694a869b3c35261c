"""Pixel blitting and general geometric transformations, carried out as one warp.

Positions are in pixels from the centre of the image, x to the right and y down. Each transformation G_k is kept as
its inverse, since warping asks where an output pixel comes from: (G_n ... G_1)^-1 = G_1^-1 ... G_n^-1.
"""

import functools
import math

import torch
from torch import Tensor

from torch_utils.ops.grid_sample import grid_sample
from training.augment.config import AugmentPipeConfig
from training.augment.draws import Draws, where_active
from training.augment.filters import RESAMPLE_MARGIN, along_axes, doubling_matrix, halving_matrix, mirror_period


def augment_geometry(images: Tensor, draws: Draws, config: AugmentPipeConfig) -> Tensor:
    """Move the content of `images [N, C, H, W]`; what comes in at the borders is mirrored."""
    height, width = images.shape[2:]
    inverses = [*_blits(draws, config, width, height), *_general_transforms(draws, config, width, height)]
    if not inverses:
        return images
    return where_active(draws.active, warp, images, functools.reduce(_product, inverses))


def warp(images: Tensor, lookup: Tensor) -> Tensor:
    """Put at each position r of the output what `images [N, C, H, W]` show at `lookup [N, 3, 3] @ r`.

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


def _blits(draws: Draws, config: AugmentPipeConfig, width: int, height: int) -> list[Tensor]:
    """Inverses of the transformations that map pixels to pixels."""
    inverses = []
    if config.xflip > 0:
        flip = draws.gated(config.xflip * draws.p, draws.uniform().mul(2).floor(), 0)
        inverses.append(_scaling(1 - 2 * flip, torch.ones_like(flip)))
    if config.rotate90 > 0:
        quarters = draws.gated(config.rotate90 * draws.p, draws.uniform().mul(4).floor(), 0)
        inverses.append(_rotation(quarters * (math.pi / 2)))
    if config.xint > 0:
        shift = draws.gated(config.xint * draws.p, (draws.uniform(2) * 2 - 1) * config.xint_max, 0)
        inverses.append(_translation(-(shift[:, 0] * width).round(), -(shift[:, 1] * height).round()))
    return inverses


def _general_transforms(draws: Draws, config: AugmentPipeConfig, width: int, height: int) -> list[Tensor]:
    """Inverses of the transformations that need interpolation."""
    inverses = []
    if config.scale > 0:
        scale = draws.gated(config.scale * draws.p, (draws.normal() * config.scale_std).exp2(), 1)
        inverses.append(_scaling(1 / scale, 1 / scale))
    if config.rotate > 0:
        inverses.append(_arbitrary_rotation(draws, config))
    if config.aniso > 0:
        scale = draws.gated(config.aniso * draws.p, (draws.normal() * config.aniso_std).exp2(), 1)
        inverses.append(_scaling(1 / scale, scale))
    if config.rotate > 0 and draws.debug_percentile is None:  # the reference numbers have the first rotation alone
        inverses.append(_arbitrary_rotation(draws, config))
    if config.xfrac > 0:
        shift = draws.gated(config.xfrac * draws.p, draws.normal(2) * config.xfrac_std, 0)
        inverses.append(_translation(-shift[:, 0] * width, -shift[:, 1] * height))
    return inverses


def _arbitrary_rotation(draws: Draws, config: AugmentPipeConfig) -> Tensor:
    """One of two, before and after the anisotropic scaling; at least one happens with probability p."""
    probability = 1 - (1 - config.rotate * draws.p).clamp(0, 1).sqrt()
    return _rotation(draws.gated(probability, (draws.uniform() * 2 - 1) * (math.pi * config.rotate_max), 0))


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    return _affine(x, 0, 0, 0, y, 0)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return _affine(cos, -sin, 0, sin, cos, 0)


def _translation(x: Tensor, y: Tensor) -> Tensor:
    return _affine(1, 0, x, 0, 1, y)


def _affine(*entries: Tensor | int) -> Tensor:
    """Stack the upper two rows, tensors [N] or numbers, into homogeneous matrices [N, 3, 3]."""
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    constants = {0: torch.zeros_like(like), 1: torch.ones_like(like)}
    full = [entry if isinstance(entry, Tensor) else constants[entry] for entry in (*entries, 0, 0, 1)]
    return torch.stack(full, dim=1).view(-1, 3, 3)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of matrices `[N, 3, 3]` in full precision, where tf32 would be off by a tenth of a pixel."""
    return (a[:, :, :, None] * b[:, None]).sum(2)
