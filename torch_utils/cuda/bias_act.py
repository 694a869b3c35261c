"""`bias_act` as operators of torch, computed by `bias_act.cu`, with first and second derivatives."""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_utils.cuda import operators
from torch_utils.cuda.launch import THREADS, TYPES, Kernel, Launch, Scalar, alignment
from torch_utils.cuda.operators import Find

_ARGUMENTS = "Tensor? b, int dim, str act, float alpha, float gain, float? clamp"
_SIGN_DECIDES = ("linear", "relu", "lrelu")  # activations whose slope follows from the sign of the output
_UNROLL = 2  # vectors that a thread computes

operators.define(f"bias_act(Tensor x, {_ARGUMENTS}) -> Tensor")
operators.define(f"bias_act_slope(Tensor grad, Tensor reference, {_ARGUMENTS}, bool from_output) -> Tensor")
operators.define(f"bias_act_curvature(Tensor h, Tensor reference, Tensor grad, {_ARGUMENTS}) -> Tensor")


@functools.lru_cache(maxsize=1024)
def plan(
    order: int,
    dtype: torch.dtype,
    size: int,
    bias: tuple[int, int, bool] | None,
    aligned: bool,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    from_output: bool = False,
) -> Launch:
    """Return the launch for a dense tensor of `size` elements.

    Args:
        order: 0 computes the function, 1 multiplies by its first derivative, 2 by its second.
        dtype: type of the tensors.
        size: number of elements.
        bias: number of channels, elements from one channel to the next, and whether the address of the bias is a
            multiple of 16; None without a bias.
        aligned: whether the addresses of all tensors are multiples of 16.
        act, alpha, gain, clamp: as in `torch_utils.ops.bias_act`.
        from_output: whether a derivative is computed from the output instead of the input.
    """
    vector = 16 // dtype.itemsize if aligned else 1
    channels, step, bias_aligned = bias or (1, 1, True)
    macros = {
        "TYPE": TYPES[dtype],
        "INDEX": "Index32" if size < 2**31 else "Index64",
        "ORDER": order,
        "ACTIVATION": act.capitalize(),
        "CLAMP": int(clamp is not None),
        "BIAS": 0 if bias is None else _bias_reads(vector, channels, step, bias_aligned),
        "FROM_OUTPUT": int(from_output),
        "VECTOR": vector,
        "UNROLL": _UNROLL,
    }
    scalars: tuple[Scalar, ...] = (
        *(np.int64(number) for number in (size, step, channels)),
        *(np.float32(number) for number in (alpha, gain, 0 if clamp is None else clamp)),
    )
    blocks = -(-size // (THREADS * vector * _UNROLL))
    return Launch(Kernel("bias_act", tuple(macros.items())), blocks, THREADS, scalars)


def _bias_reads(vector: int, channels: int, step: int, aligned: bool) -> int:
    """Return how a thread reads the bias: 1 once a vector, 2 as a vector, 3 by element, 4 as one vector in all."""
    if step % vector == 0:
        return 1
    if step > 1 or channels % vector > 0 or not aligned:
        return 3
    return 4 if THREADS * vector % channels == 0 else 2


def _compute(
    order: int,
    first: Tensor,
    second: Tensor | None,
    third: Tensor | None,
    b: Tensor | None,
    dim: int,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    from_output: bool = False,
) -> Tensor:
    """Launch a kernel on dense tensors of equal strides."""
    out = torch.empty_like(first)
    b = None if b is None else b.contiguous()
    if out.numel() > 0:
        bias = None if b is None else (out.shape[dim], max(out.stride(dim), 1), alignment(b) == 16)
        aligned = alignment(out, first, second, third) == 16
        launch = plan(order, out.dtype, out.numel(), bias, aligned, act, alpha, gain, clamp, from_output)
        operators.execute(launch, [out, first, second, third, b])
    return out


@operators.implement("bias_act")
def _value(x: Tensor, b: Tensor | None, dim: int, act: str, alpha: float, gain: float, clamp: float | None) -> Tensor:
    return _compute(0, operators.dense(x), None, None, b, dim, act, alpha, gain, clamp)


@operators.implement("bias_act_slope")
def _slope(
    grad: Tensor,
    reference: Tensor,
    b: Tensor | None,
    dim: int,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    from_output: bool,
) -> Tensor:
    reference = operators.dense(reference)
    grad = operators.with_strides_of(reference, grad)
    return _compute(1, grad, reference, None, b, dim, act, alpha, gain, clamp, from_output)


@operators.implement("bias_act_curvature")
def _curvature(
    h: Tensor,
    reference: Tensor,
    grad: Tensor,
    b: Tensor | None,
    dim: int,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
) -> Tensor:
    reference = operators.dense(reference)
    h, grad = (operators.with_strides_of(reference, tensor) for tensor in (h, grad))
    return _compute(2, h, reference, grad, b, dim, act, alpha, gain, clamp)


@operators.shape_of("bias_act")
def _value_shape(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(operators.dense(x))


@operators.shape_of("bias_act_slope")
def _slope_shape(grad: Tensor, reference: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(operators.dense(reference))


@operators.shape_of("bias_act_curvature")
def _curvature_shape(h: Tensor, reference: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(operators.dense(reference))


def _save_for_slope(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, b, dim, act, alpha, gain, clamp = inputs
    ctx.arguments = dim, act, alpha, gain, clamp
    # The next layer saves the output anyway, so saving it takes no memory.
    ctx.from_output = act in _SIGN_DECIDES and alpha >= 0 and gain >= 0
    ctx.save_for_backward(output if ctx.from_output else x, b)


def _value_backward(find: Find, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    reference, b = ctx.saved_tensors
    _, act, _, gain, clamp = ctx.arguments
    if act == "linear" and clamp is None:
        dx = grad if gain == 1 else grad * gain
    else:
        shift = None if ctx.from_output else b
        dx = find("bias_act_slope")(grad, reference, shift, *ctx.arguments, ctx.from_output)
    return dx, _sum_to_bias(ctx, dx), *[None] * 5


def _save_for_curvature(ctx: Any, inputs: tuple, output: Tensor) -> None:
    grad, reference, b, dim, act, alpha, gain, clamp, ctx.from_output = inputs
    ctx.arguments = dim, act, alpha, gain, clamp
    is_curved = act not in _SIGN_DECIDES
    ctx.save_for_backward(grad if is_curved else None, reference, b)


def _slope_backward(find: Find, ctx: Any, h: Tensor) -> tuple[Tensor | None, ...]:
    """The slope is piecewise constant where it follows from a sign; otherwise it depends on x and b alike."""
    grad, reference, b = ctx.saved_tensors
    to_grad = find("bias_act_slope")(h, reference, b, *ctx.arguments, ctx.from_output)
    if grad is None or not any(ctx.needs_input_grad[1:3]):
        return to_grad, None, None, *[None] * 6
    dx = torch.ops.qc_stylegan.bias_act_curvature(h, reference, grad, b, *ctx.arguments)
    return to_grad, dx, _sum_to_bias(ctx, dx, at=2), *[None] * 6


def _sum_to_bias(ctx: Any, dx: Tensor, at: int = 1) -> Tensor | None:
    """Return the gradient of the bias, input number `at` of the operator, from that of its sum with `x`."""
    if not ctx.needs_input_grad[at]:
        return None
    dim = ctx.arguments[0] % dx.ndim
    return dx.sum([axis for axis in range(dx.ndim) if axis != dim], dtype=torch.float32)


operators.differentiate("bias_act", _value_backward, _save_for_slope)
operators.differentiate("bias_act_slope", _slope_backward, _save_for_curvature)

operators.PROBES.append(plan(0, torch.float32, 1, None, True, "linear", 0.0, 1.0, None).kernel)


def bias_act(x: Tensor, b: Tensor | None, dim: int, act: str, alpha: float, gain: float, clamp: float | None) -> Tensor:
    """`torch_utils.ops.bias_act.bias_act` with all its arguments, for tensors that `operators.serve` accepts."""
    return operators.call("bias_act", x, None if b is None else b.float(), dim, act, alpha, gain, clamp)
