"""3x3 convolutions on CPUs, each pass by the fastest way for its shape, with gradients of any order.

The way depends on the shape and the kind of processor alone, so that a run that is continued computes the same bits.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_utils.ops.convolutions import taps, winograd

# As `benchmarks.convolutions` found them: with fewer channels of input or output oneDNN is as fast.
FEWEST_CHANNELS = 64
FEWEST_FOR_TILES = 128  # channels for the convolution itself; its weight's gradient needs FEWEST_CHANNELS
FEWEST_OF_STRIDE_2 = 4096  # channels times the larger side
_exact = False
_weights_have_gradients = True


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Within, all convolutions are torch's own."""
    global _exact
    before, _exact = _exact, True
    try:
        yield
    finally:
        _exact = before


def use_exact(value: bool) -> None:
    """Say for the whole process whether all convolutions are torch's own."""
    global _exact
    _exact = value


@contextlib.contextmanager
def no_weight_gradients() -> Iterator[None]:
    """Within, backward passes compute no gradient of a weight.

    For gradients of inputs alone, as in R1 and path lengths: a Function is not told that nobody asks for the weight's.
    """
    global _weights_have_gradients
    before, _weights_have_gradients = _weights_have_gradients, False
    try:
        yield
    finally:
        _weights_have_gradients = before


def serves(x: Tensor, weight: Tensor, groups: int = 1, larger_side: int | None = None) -> bool:
    """Whether the functions here are the faster ones for `x [N, C, H, W]` and `weight [O, C, 3, 3]`.

    `larger_side` is that of input and output where there is a stride.
    """
    channels = min(weight.shape[:2])
    if _exact or groups != 1 or weight.shape[2:] != (3, 3) or channels < FEWEST_CHANNELS:
        return False
    if larger_side is not None and channels * larger_side < FEWEST_OF_STRIDE_2:
        return False
    if x.device.type != "cpu" or x.dtype != torch.float32 or not _is_slow_at_weight_gradients():
        return False
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())  # what is traced serves any processor


def conv2d(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Correlate: with stride 1 and a border of one zero, or with stride 2, without one and with odd sides of `x`."""
    assert stride == 1 or x.shape[2] % 2 == x.shape[3] % 2 == 1, "a row or column that no output sees"
    return _Convolution.apply(x, weight, stride)


def conv_transpose2d(x: Tensor, weight: Tensor) -> Tensor:
    """Return torch's transposed convolution of stride 2 with `weight [C, O, 3, 3]`, `[N, O, 2 H + 1, 2 W + 1]`."""
    return _Transposed.apply(x, weight, 2)


@functools.cache
def _is_slow_at_weight_gradients() -> bool:
    """Whether this is a processor where the ways here were found to be faster: with AVX2, without AVX-512."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def _suits_tiles(x: Tensor, weight: Tensor) -> bool:
    return min(weight.shape[:2]) >= FEWEST_FOR_TILES and winograd.fits(x)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        if stride == 1 and _suits_tiles(x, weight):
            return winograd.convolve(x, weight)
        return F.conv2d(x, weight, stride=stride, padding=2 - stride)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, _ = ctx.needs_input_grad
        dx = _Transposed.apply(grad, weight, ctx.stride) if needs_x else None
        dw = _WeightGradient.apply(x, grad, ctx.stride) if needs_weight and _weights_have_gradients else None
        return dx, dw, None


class _Transposed(torch.autograd.Function):
    """The transpose of `_Convolution` with the same weight `[O, C, 3, 3]`: from its results to its inputs."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.stride = stride
        if stride == 1 and _suits_tiles(grad, weight):
            return winograd.convolve(grad, weight.transpose(0, 1).flip(2, 3))
        return F.conv_transpose2d(grad, weight, stride=stride, padding=2 - stride)

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> tuple[Tensor | None, ...]:
        grad, weight = ctx.saved_tensors
        needs_grad, needs_weight, _ = ctx.needs_input_grad
        dgrad = _Convolution.apply(dx, weight, ctx.stride) if needs_grad else None
        dw = _WeightGradient.apply(dx, grad, ctx.stride) if needs_weight and _weights_have_gradients else None
        return dgrad, dw, None


class _WeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, grad)
        ctx.stride = stride
        if stride == 2:
            return taps.weight_gradient_of_stride_2(x, grad)
        return winograd.weight_gradient(x, grad) if winograd.fits(x) else taps.weight_gradient(x, grad)

    @staticmethod
    def backward(ctx: Any, dw: Tensor) -> tuple[Tensor | None, ...]:
        x, grad = ctx.saved_tensors
        needs_x, needs_grad, _ = ctx.needs_input_grad
        dx = _Transposed.apply(grad, dw, ctx.stride) if needs_x else None
        dgrad = _Convolution.apply(x, dw, ctx.stride) if needs_grad else None
        return dx, dgrad, None
