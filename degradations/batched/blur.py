"""Batched blurs (box, Gaussian, motion, median) on a device: uint8 `[N, C, R, R]` in and out."""

from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from degradations.batched.exact_sums import band_matrices, reflect_indices, to_device, to_uint8, weigh, whole_weights
from degradations.kernel_sizes import taps_for
from degradations.primitives.box_blur import box_taps
from degradations.primitives.motion_blur import line_kernel, line_steps

Parameters = list[dict[str, Any]]  # parameters of the primitive, one dict an image

# Numbers that the median counts at once: on a CPU as many as fit into its cache; elsewhere a quarter of a GiB of int32,
# three times which is needed in all.
_MEDIAN_NUMBERS_CPU, _MEDIAN_NUMBERS = 2**18, 2**26


def box_blur(images: Tensor, parameters: Parameters) -> Tensor:
    """Blur each image by the window of its `size`."""
    return _blur_separably(images, [box_taps(p["size"]) for p in parameters])


def gaussian_blur(images: Tensor, parameters: Parameters) -> Tensor:
    """Blur each image by the Gaussian of its `sigma`, cut off at its `size`."""
    kernels = [cv2.getGaussianKernel(taps_for(p["size"]), p["sigma"])[:, 0] for p in parameters]
    return _blur_separably(images, kernels)


def motion_blur(images: Tensor, parameters: Parameters) -> Tensor:
    """Blur each image along the line of its `size` and `angle`, one pixel of the line after the other.

    The sums run over the points of the line and are divided by their number at the end, so that all sums are integers.
    """
    lines = [_line_points(**p) for p in parameters]
    longest = max(len(line) for line in lines)  # T
    points = np.stack([np.pad(line, ((0, longest - len(line)), (0, 0))) for line in lines], axis=1)  # [T, N, 3]
    device, resolution = images.device, images.shape[-1]
    moves = to_device(points.astype(np.int32), device)  # [T, N, 3]
    positions = torch.arange(resolution, device=device) + moves[:, :, :2, None]  # [T, N, 2, R]
    positions = reflect_indices(positions, resolution).long()
    pixels = images.permute(0, 2, 3, 1).contiguous().float()  # [N, R, R, C]
    image = torch.arange(len(images), device=device)[:, None, None]  # [N, 1, 1]
    counts = moves[:, :, 2, None, None, None].float()  # [T, N, 1, 1, 1]
    total = torch.zeros_like(pixels)
    for position, count in zip(positions, counts, strict=True):  # [N, 2, R], [N, 1, 1, 1]
        total.addcmul_(pixels[image, position[:, 0, :, None], position[:, 1, None, :]], count)
    return to_uint8(total / counts.sum(0)).permute(0, 3, 1, 2)


def median_blur(images: Tensor, parameters: Parameters) -> Tensor:
    """Replace each value by the median of its channel in the window of its image's `size`."""
    sizes = np.array([p["size"] for p in parameters])  # [N]
    medians = torch.empty_like(images)
    for size in np.unique(sizes):
        rows = to_device((sizes == size).nonzero()[0], images.device)
        medians.index_copy_(0, rows, _medians(images.index_select(0, rows), int(size)))
    return medians


def _medians(images: Tensor, size: int) -> Tensor:
    """Return the medians of windows, uint8 `[N, C, R, R]`.

    The median is the number of levels in 0..254 at or below which lies less than half of the window. The work does not
    depend on `size`: for each level, the sums of a window over a binary image.
    """
    padded = F.pad(images.float(), [size // 2] * 4, mode="replicate")  # [N, C, R + size - 1, R + size - 1]
    medians = torch.zeros_like(images)
    at_once = _MEDIAN_NUMBERS_CPU if images.device.type == "cpu" else _MEDIAN_NUMBERS
    levels_at_once = max(1, at_once // padded.numel())
    for first in range(0, 255, levels_at_once):
        levels = torch.arange(first, min(first + levels_at_once, 255), device=images.device)
        below = padded[:, :, None] <= levels[:, None, None]  # [N, C, levels, R + size - 1, R + size - 1]
        counts = _window_sums(_window_sums(below, 4, size), 3, size)  # [N, C, levels, R, R]
        medians += (2 * counts < size * size).sum(2, dtype=torch.uint8)
    return medians


def _window_sums(values: Tensor, axis: int, size: int) -> Tensor:
    """Return the sums of each `size` consecutive values along an axis, int32."""
    sums = values.cumsum(axis, dtype=torch.int32)
    windows = sums.narrow(axis, size - 1, sums.shape[axis] - size + 1).clone()
    windows.narrow(axis, 1, windows.shape[axis] - 1).sub_(sums.narrow(axis, 0, windows.shape[axis] - 1))
    return windows


def _blur_separably(images: Tensor, kernels: list[np.ndarray]) -> Tensor:
    """Filter each image by its own symmetric taps `[T]`, T odd, along both axes."""
    longest = max(len(taps) for taps in kernels)
    padded = np.stack([np.pad(taps / taps.sum(), (longest - len(taps)) // 2) for taps in kernels])  # [N, T]
    taps = to_device(whole_weights(padded.cumsum(axis=1)), images.device)  # [N, T]
    return to_uint8(weigh(images, band_matrices(taps, images.shape[-1])))


def _line_points(size: float, angle: float) -> np.ndarray:
    """Return `[T, 3]`: row and column relative to the middle, and the number of points of the line in that pixel."""
    counts = np.rint(line_kernel(size, angle) * line_steps(size))
    rows, columns = counts.nonzero()
    return np.stack([rows - len(counts) // 2, columns - len(counts) // 2, counts[rows, columns]], axis=1)
