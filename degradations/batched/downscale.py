"""Low resolution, as `degradations` makes it, on batches of images on a device."""

import numpy as np
import torch
from torch import Tensor

from degradations.batched.blur import Parameters
from degradations.batched.exact_sums import WEIGHT_BITS, sent, to_uint8, weigh
from degradations.primitives.downscale import small_side

_LINEAR_BITS = 11  # of OpenCV's bilinear weights


def downscale(images: Tensor, parameters: Parameters) -> Tensor:
    """Shrink each of uint8 `[N, C, R, R]` to `factor` of its side by its `interpolation`, and enlarge it bilinearly."""
    resolution = images.shape[-1]
    sides = np.array([small_side(resolution, drawn["factor"]) for drawn in parameters])
    # A half is the mean of four either way, and OpenCV rounds it up as bilinear does here.
    areas = np.array([drawn["interpolation"] == "area" for drawn in parameters]) & (2 * sides != resolution)
    small = images.new_empty(*images.shape[:2], sides.max(), sides.max())
    for shrink, rows in ((_area, areas.nonzero()[0]), (_shrunk_bilinear, (~areas).nonzero()[0])):
        if len(rows):
            chosen = sent(rows, images.device)
            small.index_copy_(0, chosen, shrink(images.index_select(0, chosen), sides[rows], sides.max()))
    return _bilinear(small, sides, np.full_like(sides, resolution), resolution)


def _area(images: Tensor, sides: np.ndarray, longest: int) -> Tensor:
    """Return `[N, C, longest, longest]` whose top left `sides` are the means of what falls into each small pixel."""
    resolution = images.shape[-1]
    cell = sent((resolution / sides).astype(np.float32), images.device)[:, None, None]  # side of a small pixel
    starts = torch.arange(longest, device=images.device)[:, None] * cell
    edges = torch.arange(resolution + 1, device=images.device)
    covered = ((edges - starts) / cell).clamp_(0, 1)  # [N, longest, R + 1], of each small pixel to the left of an edge
    weights = (covered * 2**WEIGHT_BITS).round_().diff(dim=2)
    return to_uint8(weigh(images, weights))


def _shrunk_bilinear(images, sides, longest):
    return _bilinear(images, np.full_like(sides, images.shape[-1]), sides, longest)


def _bilinear(images: Tensor, old: np.ndarray, new: np.ndarray, longest: int) -> Tensor:
    """Resize the top left `old` pixels of each image to `new`; return `[N, C, longest, longest]`.

    In OpenCV's integers: weights of 11 bits, whose products lose four bits after the first pass, and two halves that
    are cut to quarters of a grey level each.
    """
    left, right, weight = (sent(array, images.device)[:, None] for array in _two_taps(old, new, longest))
    across = images.int()
    shape = (-1, images.shape[1], images.shape[2], -1)
    first, second = (across.gather(3, index[:, :, None].expand(shape)) for index in (left, right))
    weight_across = weight[:, :, None]
    across = (first * (2**_LINEAR_BITS - weight_across) + second * weight_across) >> 4  # [N, C, R, longest]
    shape = (-1, images.shape[1], -1, longest)
    upper, lower = (across.gather(2, index[..., None].expand(shape)) for index in (left, right))
    weight = weight[..., None]
    quarters = (upper * (2**_LINEAR_BITS - weight) >> 16) + (lower * weight >> 16)
    return ((quarters + 2) >> 2).clamp_(0, 255).to(torch.uint8)


def _two_taps(old: np.ndarray, new: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return int64 `[N, longest]` twice, the two pixels around each new one, and int32, the right one's weight."""
    centres = ((np.arange(longest) + 0.5) * (old / new)[:, None] - 0.5).astype(np.float32)
    left, last = np.floor(centres).astype(np.int64), old[:, None] - 1
    weights = np.rint((centres - left) * 2**_LINEAR_BITS).astype(np.int32)
    return left.clip(0, last), (left + 1).clip(0, last), weights
