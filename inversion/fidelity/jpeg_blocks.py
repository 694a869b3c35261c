"""What JPEG codes of a plane: samples, fewer than pixels for colours, in blocks of 8x8, each as cosines."""

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.generators.cells import cosine_waves

BLOCK = 8  # side of JPEG's blocks in samples; the first begins at the image's corner


class Sampling(NamedTuple):
    """How many pixels of a plane make a sample, down and right: 1, or 2, where decoders interpolate linearly."""

    down: int
    right: int


FULL = Sampling(1, 1)


def are_whole_blocks(side: int, sampling: Sampling) -> bool:
    """Whether the samples of a plane of this side in pixels are whole blocks."""
    return side % (BLOCK * max(sampling)) == 0


def means(plane: Tensor, sampling: Sampling) -> Tensor:
    """Return the samples `[N, R / down, R / right]` that encoders make of planes `[N, R, R]`."""
    down, right = (_averaging(plane.shape[-1], factor).to(plane) for factor in sampling)
    return down @ plane @ right.T


def enlarged(samples: Tensor, sampling: Sampling) -> Tensor:
    """Return the planes `[N, R, R]` that decoders make of samples `[N, R / down, R / right]`."""
    sides = [side * factor for side, factor in zip(samples.shape[-2:], sampling, strict=True)]
    down, right = (_interpolating(side, factor).to(samples) for side, factor in zip(sides, sampling, strict=True))
    return down @ samples @ right.T


def decoded(plane: Tensor, sampling: Sampling) -> Tensor:
    """Return the samples `[N, R / down, R / right]` that a decoder made planes `[N, R, R]` of; undoes `enlarged`."""
    down, right = (_undoing(plane.shape[-1], factor).to(plane) for factor in sampling)
    return down @ plane @ right.T


def cosines(samples: Tensor) -> Tensor:
    """Return the cosines of each block of samples `[N, H, W]`, `[N, H / 8, W / 8, 8, 8]`, in units of a sample."""
    waves = cosine_waves(BLOCK).to(samples)
    blocks = samples.unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK)).transpose(2, 3)
    return waves @ blocks @ waves.T


def of_cosines(values: Tensor) -> Tensor:
    """Return the samples `[N, H, W]` whose cosines are `[N, H / 8, W / 8, 8, 8]`."""
    waves = cosine_waves(BLOCK).to(values)
    return (waves.T @ values @ waves).transpose(2, 3).flatten(3, 4).flatten(1, 2)


@functools.cache
def _averaging(side: int, factor: int) -> Tensor:
    """Return the means of neighbours, `[side / factor, side]`."""
    return torch.eye(side // factor, dtype=torch.float64).repeat_interleave(factor, dim=1) / factor


@functools.cache
def _interpolating(side: int, factor: int) -> Tensor:
    """Return linear interpolation between samples in the middle of their pixels, `[side, side / factor]`."""
    samples = torch.eye(side // factor, dtype=torch.float64)
    return F.interpolate(samples[None], size=side, mode="linear")[0].T


@functools.cache
def _undoing(side: int, factor: int) -> Tensor:
    """Return what undoes the interpolation, `[side / factor, side]`."""
    averaging = _averaging(side, factor)
    return torch.linalg.inv(averaging @ _interpolating(side, factor)) @ averaging
