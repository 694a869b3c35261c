"""Colours as JPEG has them: luma, and the differences of blue and red from it (ITU-R BT.601, JFIF)."""

import torch
from torch import Tensor

from images.ranges import from_levels, to_levels

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue
MIDDLE = 128  # level that JPEG takes for the middle of 0..255


def to_planes(images: Tensor) -> Tensor:
    """Return images `[N, 1 or 3, H, W]` in [-1, 1] as Y, or Y, Cb and Cr, in levels around 0, of the same shape."""
    levels = to_levels(images)
    if images.shape[1] == 1:
        return levels - MIDDLE
    return torch.einsum("ij,njhw->nihw", _matrix(images), levels) - _middle(images)


def from_planes(planes: Tensor) -> Tensor:
    """Return the images `[N, 1 or 3, H, W]`, not clipped, of which `to_planes` made these planes."""
    if planes.shape[1] == 1:
        return from_levels(planes + MIDDLE)
    return from_levels(torch.einsum("ij,njhw->nihw", torch.linalg.inv(_matrix(planes)), planes + _middle(planes)))


def _matrix(like: Tensor) -> Tensor:
    """Return what turns red, green and blue into luma and differences in [-0.5, 0.5] of the range, `[3, 3]`."""
    luma = like.new_tensor(LUMA)
    blue, red = ((torch.eye(3).to(luma)[index] - luma) / (2 - 2 * luma[index]) for index in (2, 0))
    return torch.stack([luma, blue, red])


def _middle(like: Tensor) -> Tensor:
    """Return the middle of Y, Cb and Cr, `[1, 3, 1, 1]`; differences are around 0 by themselves."""
    return like.new_tensor([MIDDLE, 0, 0]).view(1, 3, 1, 1)
