"""Bias, activation, gain and clamp in one operation."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_utils.cuda import bias_act as bias_act_kernel
from torch_utils.cuda import operators


@dataclass(frozen=True)
class Activation:
    """A nonlinearity with its default slope `alpha` and its default gain, which preserves the variance."""

    function: Callable[[Tensor, float], Tensor]
    alpha: float = 0.0
    gain: float = 1.0


ACTIVATIONS = {
    "linear": Activation(lambda x, alpha: x),
    "relu": Activation(lambda x, alpha: F.relu(x), gain=math.sqrt(2)),
    "lrelu": Activation(F.leaky_relu, alpha=0.2, gain=math.sqrt(2)),
    "tanh": Activation(lambda x, alpha: torch.tanh(x)),
    "sigmoid": Activation(lambda x, alpha: torch.sigmoid(x)),
    "elu": Activation(lambda x, alpha: F.elu(x)),
    "selu": Activation(lambda x, alpha: F.selu(x)),
    "softplus": Activation(lambda x, alpha: F.softplus(x)),
    "swish": Activation(lambda x, alpha: x * torch.sigmoid(x), gain=math.sqrt(2)),
}


# Elements below which the kernel saves a GPU less time than the host takes to start it.
SMALLEST_FOR_KERNEL = 2**17


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Return `clamp(gain * act(x + b))`.

    Args:
        x: activations of any shape and floating dtype.
        b: bias `[x.shape[dim]]`, or None.
        dim: axis of `x` that the bias belongs to.
        act: name of the activation in `ACTIVATIONS`.
        alpha: slope of `lrelu` below zero; None means the default of the activation.
        gain: factor after the activation; None means the default of the activation.
        clamp: bound of the absolute value after the gain, or None.
    """
    activation = ACTIVATIONS[act]
    alpha = activation.alpha if alpha is None else alpha
    gain = activation.gain if gain is None else gain
    if b is not None:
        assert b.ndim == 1 and b.shape[0] == x.shape[dim], f"bias {tuple(b.shape)} for axis {dim} of {tuple(x.shape)}"
    if b is None and act == "linear" and gain == 1 and clamp is None:
        return x
    # What is traced serves any size, and must not decide by one.
    if operators.serve(x) and (operators.is_traced() or x.numel() >= SMALLEST_FOR_KERNEL):
        return bias_act_kernel.bias_act(x, b, dim, act, alpha, gain, clamp)
    function = activation.function
    if b is not None:
        x = x + b.to(x.dtype).reshape([-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)])
        if act == "lrelu" and alpha > 0:
            function = F.leaky_relu_  # in place, since the sum is used only here: on a CPU, half the memory traffic
    x = function(x, alpha)
    if gain != 1:
        x = x * gain
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return x
