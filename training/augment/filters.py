"""Wavelet filters as matrices along one axis of an image, with the reflection at its borders folded in.

An image is continued by mirroring it at the centres of its border pixels, forever: position i holds pixel
`reflect(i)`. Filtering the continued image is linear, so it is a matrix product for each axis; these are fast on any
device, and autograd knows all their derivatives.
"""

import functools
import math

import numpy as np
import torch
from torch import Tensor

# Daubechies' least asymmetric wavelet with six vanishing moments, low-pass.
_SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
# Power response of sym2's low-pass filter, H(z) H(1/z), centred; one minus it is that of the high-pass filter.
_SYM2_POWER = (-1 / 32, 0, 9 / 32, 16 / 32, 9 / 32, 0, -1 / 32)

RESAMPLE_MARGIN = len(_SYM6) // 2 - 1  # samples that halving needs beyond the image on each side


def mirror_period(size: int) -> int:
    """Return after how many pixels the continued image repeats."""
    return max(2 * size - 2, 1)


@functools.lru_cache(maxsize=16)
def doubling_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `[2 * period + 1, size]`: one period of the continued axis at twice the resolution.

    Sample u lies at pixel position u / 2. The last sample repeats the first, so that each has a neighbour.
    """
    samples = 2 * mirror_period(size) + 1
    matrix = np.zeros((samples, size))
    for tap, weight in enumerate(_SYM6):
        rows = np.arange((tap + RESAMPLE_MARGIN) % 2, samples, 2)
        pixels = (rows + RESAMPLE_MARGIN - tap) // 2
        np.add.at(matrix, (rows, _reflect(pixels, size)), math.sqrt(2) * weight)
    return _constant(matrix, dtype, device)


@functools.lru_cache(maxsize=16)
def halving_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `[size, 2 * size + 2 * RESAMPLE_MARGIN]`: the adjoint of doubling, from samples -RESAMPLE_MARGIN on.

    The wavelet is orthonormal, so halving undoes doubling.
    """
    matrix = np.zeros((size, 2 * size + 2 * RESAMPLE_MARGIN))
    for pixel in range(size):
        matrix[pixel, 2 * pixel : 2 * pixel + len(_SYM6)] = _SYM6
    return _constant(matrix / math.sqrt(2), dtype, device)


@functools.lru_cache(maxsize=16)
def band_matrices(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `[4, size, size]`: filters that pass 0..pi/8, pi/8..pi/4, pi/4..pi/2, pi/2..pi; they add up to identity.

    The low-pass L(z) L(z^2) L(z^4) ... halves what is left each time, so a band is the difference of two of them.
    """
    lowpass = [np.ones(1)]
    for level in range(3):
        stretched = np.zeros((len(_SYM2_POWER) - 1) * 2**level + 1)
        stretched[:: 2**level] = _SYM2_POWER
        lowpass.append(np.convolve(lowpass[-1], stretched))
    smooth = [_convolution_matrix(kernel, size) for kernel in lowpass]
    return _constant(np.stack([smooth[3], *(smooth[i] - smooth[i + 1] for i in (2, 1, 0))]), dtype, device)


@functools.lru_cache(maxsize=4)
def band_power(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `[4]`: the share of each band in the expected power of natural images, whose spectrum falls as 1/f."""
    return _constant(np.array([10, 1, 1, 1]) / 13, dtype, device)


def along_axes(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return `rows @ images @ columns^T` for each channel: `rows` acts along the height, `columns` along the width."""
    return rows @ (images @ columns.mT)


def _convolution_matrix(kernel: np.ndarray, size: int) -> np.ndarray:
    matrix = np.zeros((size, size))
    pixels = np.arange(size)
    for offset, weight in enumerate(kernel, start=-(len(kernel) // 2)):
        np.add.at(matrix, (pixels, _reflect(pixels - offset, size)), weight)
    return matrix


def _reflect(positions: np.ndarray, size: int) -> np.ndarray:
    folded = positions % mirror_period(size)
    return np.minimum(folded, mirror_period(size) - folded)


def _constant(matrix: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # cached for training too, whoever asks first
        return torch.tensor(matrix, dtype=dtype, device=device)
