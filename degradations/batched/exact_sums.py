"""Exact weighted sums over rows and columns: integers that float32 represents exactly.

Sums of integers below 2^24 are exact in any order, so an image's result does not depend on the batch around it nor on
how a device adds up, as long as it multiplies within `exact_products`.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

WEIGHT_BITS = 12  # weights are multiples of 2^-12
_BETWEEN_BITS = 4  # fractional bits of a grey level after the first of two passes: 8 + 4 + 12 = 24 bits


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Compute float32 products on CUDA without TF32 within a `with` statement."""
    matmul = torch.backends.cuda.matmul
    allowed, matmul.allow_tf32 = matmul.allow_tf32, False
    try:
        yield
    finally:
        matmul.allow_tf32 = allowed


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device; the host does not wait for the copy."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def whole_weights(cumulative: np.ndarray) -> np.ndarray:
    """Return integer weights `[..., T]` that sum to 2^12, from the running sums `[..., T]` of weights, up to 1."""
    steps = np.rint(cumulative * 2**WEIGHT_BITS)
    return np.diff(steps, prepend=0.0).astype(np.float32)


def band_matrices(taps: Tensor, resolution: int) -> Tensor:
    """Return `[N, R, R]` whose row i has the taps `[N, T]` (T odd) centred at pixel i.

    Beyond the border the image is mirrored, edge pixel included.
    """
    radius = taps.shape[1] // 2
    pixel, tap = (torch.arange(count, device=taps.device) for count in (resolution, taps.shape[1]))
    index = reflect_indices(pixel[:, None] + tap - radius, resolution).expand(len(taps), -1, -1)  # [N, R, T]
    bands = taps.new_zeros(len(taps), resolution, resolution)  # [N, R, R]
    return bands.scatter_add_(2, index, taps[:, None, :].expand(-1, resolution, -1))


def reflect_indices(index: Tensor, size: int) -> Tensor:
    """Mirror indices beyond 0..size-1 back, edge pixel included."""
    index = index % (2 * size)
    return index + (index >= size) * (2 * size - 1 - 2 * index)


def weigh(images: Tensor, weights: Tensor) -> Tensor:
    """Apply integer weights `[N, S, R]` to the columns, then the rows, of uint8 `[N, C, R, R]`; float32 `[N, C, S, S]`.

    The sums of weights are 2^12. The result is in grey levels, not rounded.
    """
    assert images.shape[2] == images.shape[3] == weights.shape[2], f"{images.shape} does not fit {weights.shape}"
    narrow = torch.bmm(images.flatten(1, 2).float(), weights.mT).unflatten(1, images.shape[1:3])  # [N, C, R, S]
    narrow = (narrow / 2 ** (WEIGHT_BITS - _BETWEEN_BITS)).round_()
    return torch.matmul(weights[:, None], narrow) / 2 ** (WEIGHT_BITS + _BETWEEN_BITS)


def to_uint8(images: Tensor) -> Tensor:
    """Round grey levels, halves to the even one, and clip to [0, 255]."""
    return images.round().clamp_(0, 255).to(torch.uint8)
