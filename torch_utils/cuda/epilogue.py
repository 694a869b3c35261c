"""What follows a modulated convolution, computed by `epilogue.cu` in one pass, with first and second derivatives."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from torch_utils.cuda import operators
from torch_utils.cuda.launch import THREADS, TYPES, Kernel, Launch, Scalar, alignment, power_of_two

_UNROLL = 2  # loads of a tensor that a thread has under way
_MOST_STEPS = 16  # most rounds of loads of a thread; with more, the sums of blocks are fewer
_ENOUGH_BLOCKS = 1024  # about eight for each multiprocessor of a large GPU
_MOST_LANES = 32  # most threads side by side along channels
_SUMS = (0, 3, 1)  # sums over pixels of each order


@dataclass(frozen=True)
class Work:
    """Sizes of a launch.

    Attributes:
        order: 0 computes the function, 1 its derivative, 2 the derivative of that.
        dtype: type of the features.
        images, channels, pixels: sizes of the features.
        planar: whether the layout is NCHW.
        aligned: whether the addresses of all tensors are multiples of 16.
        noise_step: numbers from the noise of an image to that of the next; 0 where all have the same.
    """

    order: int
    dtype: torch.dtype
    images: int
    channels: int
    pixels: int
    planar: bool
    aligned: bool
    noise_step: int


@functools.lru_cache(maxsize=1024)
def plan(work: Work, alpha: float, clamp: float | None) -> tuple[Launch, int]:
    """Return the launch, and the number of tiles of an image, each of which has sums of its own."""
    wide = 16 // work.dtype.itemsize if work.aligned else 1
    vector = math.gcd(work.pixels if work.planar else work.channels, wide)
    lanes = 1 if work.planar else math.gcd(work.channels // vector, _MOST_LANES)  # threads along channels
    groups = work.channels if work.planar else work.channels // (lanes * vector)  # blocks along channels
    width = vector if work.planar else 1  # pixels of a load
    wanted = -(-work.pixels // (width * _UNROLL)) * lanes
    threads = min(THREADS, max(_MOST_LANES, 2 ** power_of_two(wanted)))
    stride = threads // lanes * width  # pixels that a block loads at once
    rounds = -(-work.pixels // (stride * _UNROLL))
    steps = min(_MOST_STEPS, max(1, work.images * groups * rounds // _ENOUGH_BLOCKS), rounds)
    tiles = -(-rounds // steps)
    macros: dict[str, str | int] = {
        "TYPE": TYPES[work.dtype],
        "ORDER": work.order,
        "CLAMP": int(clamp is not None),
        "PLANAR": int(work.planar),
        "VECTOR": vector,
        "UNROLL": _UNROLL,
    }
    sizes = (work.channels, work.pixels, groups, tiles, lanes, steps, work.noise_step)
    scalars: tuple[Scalar, ...] = (
        *(np.int32(size) for size in sizes),
        *(np.float32(number) for number in (alpha, 0 if clamp is None else clamp)),
    )
    return Launch(Kernel("epilogue", tuple(macros.items())), work.images * tiles * groups, threads, scalars), tiles


@dataclass(frozen=True)
class Constants:
    """What has no derivative: the noise `[N or 1, 1, H, W]`, float32, contiguous, or None; the slope; the clamp."""

    noise: Tensor | None
    alpha: float
    clamp: float | None


def _compute(
    order: int,
    tensors: Sequence[Tensor | None],
    numbers: Sequence[Tensor | None],
    constants: Constants,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Launch a kernel.

    Args:
        order: as in `Work`.
        tensors: x, dy, y and h `[N, C, H, W]`, as many as the order reads, dense and of equal strides.
        numbers: scale `[N, C]`, then strength, bias and h_scale in the order of the kernel's arguments.
        constants: the rest.

    Returns:
        the result of the shape of x, for order 2 also that for x, and for orders 1 and 2 the sums `[N, SUMS, C]`.
    """
    x, noise = tensors[0], constants.noise
    assert x is not None, "every order reads x"
    images, channels, pixels = x.shape[0], x.shape[1], x.shape[2:].numel()
    out, to_x = torch.empty_like(x), torch.empty_like(x) if order == 2 else None
    if x.numel() == 0:
        return out, to_x, x.new_zeros((images, _SUMS[order], channels), dtype=torch.float32) if order else None
    planar = x.is_contiguous()
    # Noise is read by vectors along pixels alone, and a strength is a single number.
    vectors = [out, *tensors, numbers[0], *numbers[2:], noise if planar else None]
    noise_step = 0 if noise is None or noise.shape[0] == 1 else pixels
    work = Work(order, x.dtype, images, channels, pixels, planar, alignment(*vectors) == 16, noise_step)
    launch, tiles = plan(work, constants.alpha, constants.clamp)
    sums = x.new_empty((images, tiles, _SUMS[order], channels), dtype=torch.float32) if order else None
    absent = [None] * (4 - len(tensors))
    scale, strength, bias, h_scale = numbers
    operators.execute(launch, [out, to_x, sums, *tensors, *absent, scale, noise, strength, bias, h_scale])
    return out, to_x, None if sums is None else sums[:, 0] if tiles == 1 else sums.sum(1)


class Epilogue(torch.autograd.Function):
    """The function itself. Its derivatives read the output instead of the sum before the activation."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, strength: Tensor | None, bias: Tensor, constants: Constants
    ) -> Tensor:
        x = operators.dense(x)
        y, _, _ = _compute(0, [x], [scale, strength, bias, None], constants)
        ctx.constants = constants
        ctx.save_for_backward(x, y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return *Derivative.apply(dy, *ctx.saved_tensors, ctx.constants), None


class Derivative(torch.autograd.Function):
    """Gradients of x, scale, strength and bias, from that of y."""

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, y: Tensor, scale: Tensor, constants: Constants
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        dy = operators.with_strides_of(x, dy)
        dx, _, sums = _compute(1, [x, dy, y], [scale, None, None, None], constants)
        assert sums is not None, "order 1 has sums"
        ctx.set_materialize_grads(False)
        ctx.constants = constants
        ctx.save_for_backward(dy, x, y, scale)
        of_all = sums[:, 1:].sum(0)  # [2, C]
        return dx, sums[:, 0], None if constants.noise is None else of_all[1].sum(), of_all[0]

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, h: Tensor | None, h_scale: Tensor | None, h_strength: Tensor | None, h_bias: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        dy, x, y, scale = ctx.saved_tensors
        h = torch.zeros_like(x) if h is None else operators.with_strides_of(x, h)
        numbers = [None if number is None else number.contiguous() for number in (h_strength, h_bias, h_scale)]
        to_dy, to_x, sums = _compute(2, [x, dy, y, h], [scale, *numbers], ctx.constants)
        assert sums is not None, "order 2 has sums"
        return to_dy, None if h_scale is None else to_x, None, sums[:, 0], None


operators.PROBES.append(plan(Work(1, torch.float32, 1, 4, 4, False, True, 0), 0.2, 1.0)[0].kernel)


def epilogue(
    x: Tensor,
    scale: Tensor,
    noise: Tensor | None,
    strength: Tensor | None,
    b: Tensor,
    alpha: float,
    clamp: float | None,
) -> Tensor:
    """`torch_utils.ops.epilogue.epilogue` with all its arguments, for tensors that `operators.serve` accepts.

    The noise gets no gradient.
    """
    noise = None if noise is None else noise.detach().float().contiguous()
    strength = None if noise is None or strength is None else strength.float()
    return Epilogue.apply(x, scale.float().contiguous(), strength, b.float(), Constants(noise, alpha, clamp))
