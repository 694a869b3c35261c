"""upfirdn2d: upsample, filter and downsample images; a linear map whose derivative is itself with other arguments."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_utils.cuda import operators
from torch_utils.cuda import upfirdn2d as upfirdn2d_kernel

Pair = tuple[int, int]  # along x and y
Padding = tuple[int, int, int, int]  # x0, x1, y0, y1: left, right, top, bottom


def setup_filter(
    f: Tensor | Sequence[float] | None,
    device: torch.device | str | None = None,
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1,
    separable: bool | None = None,
) -> Tensor:
    """Return a FIR filter as float32: `[taps]` when it is applied to each axis in turn, else `[height, width]`.

    Args:
        f: taps, 1-D or 2-D; None is the identity.
        device: device of the result; None is torch's default device.
        normalize: whether the taps are divided by their sum, so that a constant image keeps its value.
        flip_filter: whether the taps are reversed.
        gain: amplification of the signal by the whole filter.
        separable: whether 1-D taps stay 1-D; by default from eight taps on, where that is faster.
    """
    taps = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32, device=device)
    taps = taps.reshape(1) if taps.ndim == 0 else taps
    assert taps.ndim in (1, 2) and taps.numel() > 0, f"a filter has one or two axes and some taps, not {taps.shape}"
    if separable is None:
        separable = taps.ndim == 1 and taps.numel() >= 8
    if taps.ndim == 1 and not separable:
        taps = torch.outer(taps, taps)  # [height, width]
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(list(range(taps.ndim)))
    return taps * gain ** (taps.ndim / 2)


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
) -> Tensor:
    """Insert zeros, pad (or crop), filter, and keep every `down`-th pixel.

    Args:
        x: images `[N, C, H, W]`, any floating dtype.
        f: filter from `setup_filter`, or None for the identity.
        up: factor of upsampling, or factors along (x, y): each pixel is followed by `up - 1` zeros.
        down: factor of downsampling, or factors along (x, y).
        padding: number of zeros around the upsampled image: one number, (x, y) or (x0, x1, y0, y1); negative ones crop.
        flip_filter: False convolves, True correlates.
        gain: amplification of the signal.

    Returns:
        `[N, C, H', W']` in the dtype of `x`, with `H' = (H * up + y0 + y1 - taps) // down + 1`.
    """
    f = x.new_ones(1, dtype=torch.float32) if f is None else f
    up_x, up_y = _pair(up)
    down_x, down_y = _pair(down)
    x0, x1, y0, y1 = parse_padding(padding)
    if operators.serve(x):
        return upfirdn2d_kernel.upfirdn2d(x, f, (up_x, up_y), (down_x, down_y), (x0, x1, y0, y1), flip_filter, gain)
    kernel = f * gain ** (f.ndim / 2)
    kernel = kernel if flip_filter else kernel.flip(list(range(kernel.ndim)))  # [height, width] or [taps]
    if kernel.ndim == 2:
        return _Upfirdn2d.apply(x, kernel, (up_x, up_y), (down_x, down_y), (x0, x1, y0, y1))
    x = _Upfirdn2d.apply(x, kernel[None, :], (up_x, 1), (down_x, 1), (x0, x1, 0, 0))  # [N, C, H, W']
    return _Upfirdn2d.apply(x, kernel[:, None], (1, up_y), (1, down_y), (0, 0, y0, y1))


def upsample2d(
    x: Tensor, f: Tensor, up: int = 2, padding: int | Sequence[int] = 0, flip_filter: bool = False, gain: float = 1
) -> Tensor:
    """Enlarge `[N, C, H, W]` by `up`, aligned so that `padding=0` gives exactly `[N, C, H * up, W * up]`."""
    around = aligned_padding(f, up, 1, padding)
    return upfirdn2d(x, f, up=up, padding=around, flip_filter=flip_filter, gain=gain * up * up)


def downsample2d(
    x: Tensor, f: Tensor, down: int = 2, padding: int | Sequence[int] = 0, flip_filter: bool = False, gain: float = 1
) -> Tensor:
    """Shrink `[N, C, H, W]` by `down`, aligned so that `padding=0` gives exactly `[N, C, H // down, W // down]`."""
    around = aligned_padding(f, 1, down, padding)
    return upfirdn2d(x, f, down=down, padding=around, flip_filter=flip_filter, gain=gain)


def aligned_padding(f: Tensor | None, up: int, down: int, padding: int | Sequence[int] = 0) -> Padding:
    """Return `padding` as (x0, x1, y0, y1), enlarged so that the filter stays centred on the resampled pixels."""
    around = list(parse_padding(padding))
    for axis, taps in enumerate(filter_size(f)):
        if up > 1:
            around[2 * axis] += (taps + up - 1) // 2
            around[2 * axis + 1] += (taps - up) // 2
        if down > 1:
            around[2 * axis] += (taps - down + 1) // 2
            around[2 * axis + 1] += (taps - down) // 2
    x0, x1, y0, y1 = around
    return x0, x1, y0, y1


def filter_size(f: Tensor | None) -> Pair:
    """Return (width, height) of a filter from `setup_filter`."""
    if f is None:
        return 1, 1
    return f.shape[-1], f.shape[0]


def parse_padding(padding: int | Sequence[int]) -> Padding:
    """Return (x0, x1, y0, y1) for one number, (x, y) or all four."""
    values = [padding] if isinstance(padding, int) else list(padding)
    if len(values) == 4:
        x0, x1, y0, y1 = values
        return x0, x1, y0, y1
    x, y = _pair(values if len(values) == 2 else values[0])
    return x, x, y, y


class _Upfirdn2d(torch.autograd.Function):
    """Correlate with `kernel` `[height, width]`; a function of its own, so that every derivative is fast too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, up: Pair, down: Pair, padding: Padding) -> Tensor:
        y = _correlate(x, kernel, up, down, padding)  # [N, C, H', W']
        ctx.save_for_backward(kernel)
        ctx.arguments = up, down, _transposed_padding(x.shape, y.shape, kernel.shape, up, down, padding)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (kernel,) = ctx.saved_tensors
        up, down, padding = ctx.arguments
        return _Upfirdn2d.apply(grad, kernel.flip([0, 1]), down, up, padding), None, None, None, None


def _transposed_padding(
    in_shape: torch.Size, out_shape: torch.Size, kernel_shape: torch.Size, up: Pair, down: Pair, padding: Padding
) -> Padding:
    """Return the padding of the transposed map, from `out_shape` to `in_shape`, which exchanges `up` and `down`."""
    around: list[int] = []
    for axis, before in ((0, padding[0]), (1, padding[2])):
        size, out, taps = in_shape[3 - axis], out_shape[3 - axis], kernel_shape[1 - axis]
        around += [taps - before - 1, (size - 1) * up[axis] - out * down[axis] + before + 1]
    x0, x1, y0, y1 = around
    return x0, x1, y0, y1


def _correlate(x: Tensor, kernel: Tensor, up: Pair, down: Pair, padding: Padding) -> Tensor:
    if up != (1, 1):
        return _correlate_upsampled(x, kernel, up, padding)[:, :, :: down[1], :: down[0]]  # [N, C, H', W']
    x0, x1, y0, y1 = padding
    if x0 != x1 or y0 != y1 or min(padding) < 0:
        x, x0, y0 = F.pad(x, padding), 0, 0  # [N, C, H + y0 + y1, W + x0 + x1]
    return F.conv2d(x, _depthwise(kernel, x), stride=down[::-1], padding=(y0, x0), groups=x.shape[1])


def _correlate_upsampled(x: Tensor, kernel: Tensor, up: Pair, padding: Padding) -> Tensor:
    """Upsample and correlate by a transposed convolution, which skips inserted zeros, then crop or pad its output."""
    (height, width), (x0, x1, y0, y1) = kernel.shape, padding
    margins = [x0 - width + 1, x1 - width + up[0], y0 - height + 1, y1 - height + up[1]]
    # oneDNN has no fast half-precision kernel for depthwise transposed convolutions.
    wide = x.float() if x.device.type == "cpu" and x.dtype in (torch.float16, torch.bfloat16) else x
    crop = _symmetric_crop(margins)
    weight = _depthwise(kernel.flip([0, 1]), wide)  # [C, 1, height, width]
    # [N, C, (H - 1) * up + height - 2 * crop, ...]
    y = F.conv_transpose2d(wide, weight, stride=up[::-1], padding=crop, groups=x.shape[1]).to(x.dtype)
    margins = [margins[0] + crop[1], margins[1] + crop[1], margins[2] + crop[0], margins[3] + crop[0]]
    return F.pad(y, margins) if any(margins) else y


def _symmetric_crop(margins: Sequence[int]) -> Pair:
    """Return how many (rows, columns) are cropped at both ends, which the transposed convolution need not compute."""
    x0, x1, y0, y1 = margins
    return max(0, -max(y0, y1)), max(0, -max(x0, x1))


def _depthwise(kernel: Tensor, x: Tensor) -> Tensor:
    """Return the weight `[C, 1, height, width]` that filters each channel of `x` alone."""
    return kernel.to(x.dtype)[None, None].expand(x.shape[1], 1, *kernel.shape)


def _pair(value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    x, y = value
    return x, y
