"""The blurs of `degradations`, on batches of images on a device: uint8 `[N, C, R, R]` in and out."""

from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from degradations.batched.exact_sums import band_matrices, reflected, sent, to_uint8, weigh, whole_weights
from degradations.kernel_sizes import taps_for
from degradations.primitives.box_blur import box_taps
from degradations.primitives.motion_blur import line_kernel, line_steps

Parameters = list[dict[str, Any]]  # of each image

# Numbers that the median counts at once: on a CPU what its cache holds, elsewhere in int32 a quarter of a GiB, of which
# it needs about three times as much.
_MEDIAN_NUMBERS_CPU, _MEDIAN_NUMBERS = 2**18, 2**26


def box_blur(images: Tensor, parameters: Parameters) -> Tensor:
    """Blur each image by the window of its `size`."""
    return _separable(images, [box_taps(drawn["size"]) for drawn in parameters])


def gaussian_blur(images: Tensor, parameters: Parameters) -> Tensor:
    """Blur each image by the Gaussian of its `sigma`, cut off at its `size`."""
    kernels = [cv2.getGaussianKernel(taps_for(drawn["size"]), drawn["sigma"])[:, 0] for drawn in parameters]
    return _separable(images, kernels)


def motion_blur(images: Tensor, parameters: Parameters) -> Tensor:
    """Blur each image along the line of its `size` and `angle`, one pixel of the line after the other.

    Points of the line are counted, and their number is divided by at the end: all sums are whole.
    """
    lines = [_line_points(**drawn) for drawn in parameters]
    longest = max(len(line) for line in lines)
    points = np.stack([np.pad(line, ((0, longest - len(line)), (0, 0))) for line in lines], axis=1)  # [T, N, 3]
    device, resolution = images.device, images.shape[-1]
    moves = sent(points.astype(np.int32), device)
    places = reflected(torch.arange(resolution, device=device) + moves[:, :, :2, None], resolution).long()
    pixels = images.permute(0, 2, 3, 1).contiguous().float()  # [N, R, R, C]
    image = torch.arange(len(images), device=device)[:, None, None]
    total, counts = torch.zeros_like(pixels), moves[:, :, 2, None, None, None].float()
    for place, count in zip(places, counts, strict=True):  # [N, 2, R], [N, 1, 1, 1]
        total.addcmul_(pixels[image, place[:, 0, :, None], place[:, 1, None, :]], count)
    return to_uint8(total / counts.sum(0)).permute(0, 3, 1, 2)


def median_blur(images: Tensor, parameters: Parameters) -> Tensor:
    """Replace each value by the median of its channel in the window of its image's `size`."""
    sizes = np.array([drawn["size"] for drawn in parameters])
    medians = torch.empty_like(images)
    for size in np.unique(sizes):
        rows = sent((sizes == size).nonzero()[0], images.device)
        medians.index_copy_(0, rows, _medians(images.index_select(0, rows), int(size)))
    return medians


def _medians(images: Tensor, size: int) -> Tensor:
    """Return how many of the levels 0..254 less than half of the window reaches: that is the median.

    The work is the same for windows of every size: for each level, the sums of a window over a black and white image.
    """
    padded = F.pad(images.float(), [size // 2] * 4, mode="replicate")
    medians = torch.zeros_like(images)
    at_once = _MEDIAN_NUMBERS_CPU if images.device.type == "cpu" else _MEDIAN_NUMBERS
    levels_at_once = max(1, at_once // padded.numel())
    for first in range(0, 255, levels_at_once):
        levels = torch.arange(first, min(first + levels_at_once, 255), device=images.device)
        below = padded[:, :, None] <= levels[:, None, None]  # [N, C, levels, R + size - 1, R + size - 1]
        counts = _window_sums(_window_sums(below, 4, size), 3, size)
        medians += (2 * counts < size * size).sum(2, dtype=torch.uint8)
    return medians


def _window_sums(values: Tensor, axis: int, size: int) -> Tensor:
    """Return the sums of each `size` values in a row, int32."""
    sums = values.cumsum(axis, dtype=torch.int32)
    windows = sums.narrow(axis, size - 1, sums.shape[axis] - size + 1).clone()
    windows.narrow(axis, 1, windows.shape[axis] - 1).sub_(sums.narrow(axis, 0, windows.shape[axis] - 1))
    return windows


def _separable(images, kernels):
    longest = max(len(taps) for taps in kernels)
    padded = np.stack([np.pad(taps / taps.sum(), (longest - len(taps)) // 2) for taps in kernels])  # [N, T]
    taps = sent(whole_weights(padded.cumsum(axis=1)), images.device)
    return to_uint8(weigh(images, band_matrices(taps, images.shape[-1])))


def _line_points(size: float, angle: float) -> np.ndarray:
    """Return `[T, 3]`: row and column relative to the middle, and how many points of the line lie there."""
    counts = np.rint(line_kernel(size, angle) * line_steps(size))
    rows, columns = counts.nonzero()
    return np.stack([rows - len(counts) // 2, columns - len(counts) // 2, counts[rows, columns]], axis=1)
