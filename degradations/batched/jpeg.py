"""Batched JPEG on a device: its effect on the pixels; entropy coding is lossless and left out.

Colours and chroma follow the integers of libjpeg. The cosine transform is one product with a matrix of 13-bit weights,
exact in float32, where libjpeg's fast algorithm rounds between its two passes.
"""

import functools
from io import BytesIO

import numpy as np
import PIL.Image
import PIL.JpegImagePlugin
import torch
import torch.nn.functional as F
from torch import Tensor

from degradations.batched.blur import Parameters
from degradations.batched.exact_sums import to_device

BLOCK = 8
_COSINE_BITS = 13
_COLOUR_BITS = 16


def jpeg(images: Tensor, parameters: Parameters) -> Tensor:
    """Encode each of uint8 `[N, 1 or 3, R, R]` as JPEG of its `quality`, colour subsampled 4:2:0, and decode it."""
    tables = np.stack([quantisation_tables(p["quality"]) for p in parameters])  # [N, 2, 64]
    luma_steps, chroma_steps = to_device(tables, images.device).unbind(1)  # [N, 64] each
    if images.shape[1] == 1:
        return _quantise(images.int(), luma_steps).to(torch.uint8)
    y, chroma = _to_ycc(images.int()).split([1, 2], dim=1)  # [N, 1, R, R], [N, 2, R, R]
    chroma = _subsample(chroma)  # [N, 2, R / 2, R / 2], wider where blocks are filled up
    chroma = _quantise(chroma, chroma_steps)[..., : images.shape[3] // 2]  # [N, 2, R / 2, R / 2]
    return _to_rgb(_quantise(y, luma_steps), _upsample(chroma))  # [N, 3, R, R]


@functools.cache
def quantisation_tables(quality: int) -> np.ndarray:
    """Return libjpeg's quantisation steps for luma and chroma as float32 `[2, 64]`, row by row of a block."""
    file = BytesIO()
    PIL.Image.new("RGB", (BLOCK, BLOCK)).save(file, "JPEG", quality=quality)
    file.seek(0)
    tables = PIL.JpegImagePlugin.JpegImageFile(file).quantization
    return np.array([tables[0], tables[1]], np.float32)


@functools.cache
def _cosines(device: torch.device) -> Tensor:
    """Return integer weights `[64, 64]`, frequency by pixel, of the orthonormal 8x8 cosine transform."""
    frequency, pixel = np.mgrid[0:BLOCK, 0:BLOCK]
    basis = np.cos(np.pi * (pixel + 0.5) * frequency / BLOCK) * np.where(frequency == 0, 1, 2**0.5) / BLOCK**0.5
    return torch.from_numpy(np.rint(np.kron(basis, basis) * 2**_COSINE_BITS).astype(np.float32)).to(device)


def _quantise(planes: Tensor, steps: Tensor) -> Tensor:
    """Quantise planes int32 `[N, P, H, W]` in [0, 255] with steps `[N, 64]` of the frequencies of 8x8 blocks."""
    height, width = planes.shape[2:]
    down, right = -height % BLOCK, -width % BLOCK
    planes = F.pad(planes.float() - 128, (0, right, 0, down), mode="replicate")  # [N, P, rows * 8, columns * 8]
    rows, columns = planes.shape[2] // BLOCK, planes.shape[3] // BLOCK
    blocks = planes.unflatten(3, (columns, BLOCK)).unflatten(2, (rows, BLOCK))  # [N, P, rows, 8, columns, 8]
    blocks = blocks.transpose(3, 4).flatten(4)  # [N, P, rows, columns, 64]
    cosines, steps = _cosines(planes.device), steps[:, None, None, None]  # [64, 64], [N, 1, 1, 1, 64]
    eighths = (blocks @ cosines.T / 2 ** (_COSINE_BITS - 3)).round_()  # frequencies in libjpeg's unit
    frequencies = (eighths.abs() / (8 * steps) + 0.5).floor_().copysign_(eighths) * steps
    blocks = frequencies @ cosines / 2**_COSINE_BITS  # [N, P, rows, columns, 64]
    planes = blocks.unflatten(4, (BLOCK, BLOCK)).transpose(3, 4)  # [N, P, rows, 8, columns, 8]
    planes = planes.flatten(4, 5).flatten(2, 3)  # [N, P, rows * 8, columns * 8]
    return (planes[..., :height, :width] + 128.5).floor_().clamp_(0, 255).int()


def _to_ycc(rgb: Tensor) -> Tensor:
    """Return luma and the two chroma planes of RGB, int32 `[N, 3, H, W]` both."""
    r, g, b = rgb.unbind(1)
    y = _fixed(0.299) * r + _fixed(0.587) * g + _fixed(0.114) * b + _fixed(0.5)
    cb = -_fixed(0.168736) * r - _fixed(0.331264) * g + _fixed(0.5) * b + _fixed(128.5) - 1
    cr = _fixed(0.5) * r - _fixed(0.418688) * g - _fixed(0.081312) * b + _fixed(128.5) - 1
    return torch.stack([y, cb, cr], dim=1) >> _COLOUR_BITS


def _to_rgb(y: Tensor, chroma: Tensor) -> Tensor:
    """Return uint8 `[N, 3, H, W]` of luma `[N, 1, H, W]` and chroma `[N, 2, H, W]`."""
    y, (cb, cr) = y[:, 0], (chroma - 128).unbind(1)  # [N, H, W] each
    half = _fixed(0.5)
    r = y + (_fixed(1.402) * cr + half >> _COLOUR_BITS)
    g = y + (-_fixed(0.344136) * cb - _fixed(0.714136) * cr + half >> _COLOUR_BITS)
    b = y + (_fixed(1.772) * cb + half >> _COLOUR_BITS)
    return torch.stack([r, g, b], dim=1).clamp_(0, 255).to(torch.uint8)


def _fixed(value: float) -> int:
    """Return a number in fixed point."""
    return round(value * 2**_COLOUR_BITS)


def _subsample(chroma: Tensor) -> Tensor:
    """Return means of 2x2 pixels, int32 `[N, 2, H / 2, W / 2]`; halves round down and up in alternating columns."""
    right = -chroma.shape[3] % (2 * BLOCK)  # at the bottom, `_quantise` fills up blocks with means
    chroma = F.pad(chroma.float(), (0, right, 0, 0), mode="replicate").int()
    sums = chroma.unflatten(3, (-1, 2)).sum(4, dtype=torch.int32).unflatten(2, (-1, 2)).sum(3, dtype=torch.int32)
    return sums + 1 + torch.arange(sums.shape[3], device=sums.device, dtype=torch.int32) % 2 >> 2


def _upsample(chroma: Tensor) -> Tensor:
    """Return int32 `[N, 2, 2H, 2W]`, three quarters of the nearest value and one of the next, along both axes."""
    up, down = (torch.cat(parts, 2) for parts in _neighbours(chroma, 2))
    tall = torch.stack([3 * chroma + up, 3 * chroma + down], dim=3).flatten(2, 3)  # [N, 2, 2H, W]
    left, right = (torch.cat(parts, 3) for parts in _neighbours(tall, 3))
    return torch.stack([3 * tall + left + 8, 3 * tall + right + 7], dim=4).flatten(3, 4) >> 4


def _neighbours(planes: Tensor, axis: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the values before and after each value, in two pieces each; the edges are repeated."""
    size = planes.shape[axis]
    first, last = planes.narrow(axis, 0, 1), planes.narrow(axis, size - 1, 1)
    return (first, planes.narrow(axis, 0, size - 1)), (planes.narrow(axis, 1, size - 1), last)
