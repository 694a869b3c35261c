"""Batched downscaling (low resolution) on a device, equal to `degradations.primitives.downscale`."""

import numpy as np
import torch
from torch import Tensor

from degradations.batched.blur import Parameters
from degradations.batched.exact_sums import WEIGHT_BITS, to_device, to_uint8, weigh
from degradations.primitives.downscale import small_side

_LINEAR_BITS = 11  # bits of OpenCV's bilinear weights


def downscale(images: Tensor, parameters: Parameters) -> Tensor:
    """Shrink each of uint8 `[N, C, R, R]` to `factor` of its side by its `interpolation`, and enlarge it again."""
    nearest = np.array([p["interpolation"] == "nearest" for p in parameters])  # [N]
    if not nearest.any():
        return _smooth(images, parameters)
    result = torch.empty_like(images)
    for way, rows in ((_nearest, nearest.nonzero()[0]), (_smooth, (~nearest).nonzero()[0])):
        if len(rows):
            chosen = to_device(rows, images.device)
            result.index_copy_(0, chosen, way(images.index_select(0, chosen), [parameters[row] for row in rows]))
    return result


def _nearest(images: Tensor, parameters: Parameters) -> Tensor:
    """Shrink and enlarge by single pixels: each pixel of the result is one of uint8 `[N, C, R, R]`."""
    resolution = images.shape[-1]
    sides = np.array([small_side(resolution, p["factor"]) for p in parameters])  # [N]
    places = np.stack([_nearest_pixels(resolution, side)[_nearest_pixels(side, resolution)] for side in sides])
    taken = to_device(places, images.device)  # [N, R]
    rows = images.gather(2, taken[:, None, :, None].expand_as(images))
    return rows.gather(3, taken[:, None, None, :].expand_as(images))


def _nearest_pixels(old: int, new: int) -> np.ndarray:
    """Return the old pixel that each new one is, int64 `[new]`, with OpenCV's rounding of the ratio."""
    return np.minimum(np.floor(np.arange(new) * (1 / (new / old))).astype(np.int64), old - 1)


def _smooth(images: Tensor, parameters: Parameters) -> Tensor:
    """Shrink by area or bilinearly, and enlarge bilinearly."""
    resolution = images.shape[-1]
    sides = np.array([small_side(resolution, p["factor"]) for p in parameters])  # [N]
    # At factor 1/2 both interpolations are the mean of four pixels, and OpenCV rounds it up as bilinear does here.
    areas = np.array([p["interpolation"] == "area" for p in parameters]) & (2 * sides != resolution)
    longest = int(sides.max())  # S
    small = images.new_empty(*images.shape[:2], longest, longest)  # [N, C, S, S]
    for shrink, rows in ((_shrink_area, areas.nonzero()[0]), (_shrink_bilinear, (~areas).nonzero()[0])):
        if len(rows):
            chosen = to_device(rows, images.device)
            small.index_copy_(0, chosen, shrink(images.index_select(0, chosen), sides[rows], longest))
    return _bilinear(small, sides, np.full_like(sides, resolution), resolution)


def _shrink_area(images: Tensor, sides: np.ndarray, longest: int) -> Tensor:
    """Return `[N, C, longest, longest]`; its top left `sides` pixels are means over the area of each small pixel."""
    resolution = images.shape[-1]
    cell = to_device((resolution / sides).astype(np.float32), images.device)[:, None, None]  # [N, 1, 1]
    starts = torch.arange(longest, device=images.device)[:, None] * cell  # [N, longest, 1], left edges of small pixels
    edges = torch.arange(resolution + 1, device=images.device)
    covered = ((edges - starts) / cell).clamp_(0, 1)  # [N, longest, R + 1], part of a small pixel left of each edge
    weights = (covered * 2**WEIGHT_BITS).round_().diff(dim=2)  # [N, longest, R]
    return to_uint8(weigh(images, weights))


def _shrink_bilinear(images: Tensor, sides: np.ndarray, longest: int) -> Tensor:
    """Return `[N, C, longest, longest]`; its top left `sides` pixels are bilinear samples of the images."""
    return _bilinear(images, np.full_like(sides, images.shape[-1]), sides, longest)


def _bilinear(images: Tensor, old: np.ndarray, new: np.ndarray, longest: int) -> Tensor:
    """Resize the top left `old` pixels of each image to `new`; return `[N, C, longest, longest]`.

    The integers are those of OpenCV: weights have 11 bits, products lose four bits after the first pass, and the two
    summands of the second pass are each cut to quarters of a grey level.
    """
    taps = _two_taps(old, new, longest)
    left, right, weight = (to_device(array, images.device)[:, None] for array in taps)  # [N, 1, longest]
    across = images.int()  # [N, C, R, R]
    shape = (-1, images.shape[1], images.shape[2], -1)
    first, second = (across.gather(3, index[:, :, None].expand(shape)) for index in (left, right))
    weight_across = weight[:, :, None]
    across = (first * (2**_LINEAR_BITS - weight_across) + second * weight_across) >> 4  # [N, C, R, longest]
    shape = (-1, images.shape[1], -1, longest)
    upper, lower = (across.gather(2, index[..., None].expand(shape)) for index in (left, right))
    weight = weight[..., None]  # [N, 1, longest, 1]
    quarters = (upper * (2**_LINEAR_BITS - weight) >> 16) + (lower * weight >> 16)  # [N, C, longest, longest]
    return ((quarters + 2) >> 2).clamp_(0, 255).to(torch.uint8)


def _two_taps(old: np.ndarray, new: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two old pixels around each new one, int64 `[N, longest]` each, and the right one's weight, int32."""
    centres = ((np.arange(longest) + 0.5) * (old / new)[:, None] - 0.5).astype(np.float32)
    left, last = np.floor(centres).astype(np.int64), old[:, None] - 1
    weights = np.rint((centres - left) * 2**_LINEAR_BITS).astype(np.int32)
    return left.clip(0, last), (left + 1).clip(0, last), weights
