"""Bias, activation, gain and clamp in one call."""

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
    """A nonlinearity with the slope and the variance-keeping gain it has when none is asked for."""

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
        dim: the axis of `x` that the bias runs along.
        act: a name in `ACTIVATIONS`.
        alpha: slope of `lrelu` below zero (its own default when None).
        gain: factor after the activation (the activation's own when None).
        clamp: bound of the absolute value after the gain, or None.
    """
    activation = ACTIVATIONS[act]
    alpha = activation.alpha if alpha is None else alpha
    gain = activation.gain if gain is None else gain
    if b is not None:
        assert b.ndim == 1 and b.shape[0] == x.shape[dim], f"bias {tuple(b.shape)} for axis {dim} of {tuple(x.shape)}"
    if operators.serve(x):
        return bias_act_kernel.bias_act(x, b, dim, act, alpha, gain, clamp)
    function = activation.function
    if b is not None:
        x = x + b.to(x.dtype).reshape([-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)])
        if act == "lrelu" and alpha > 0:
            function = F.leaky_relu_  # the sum is nobody else's: on a CPU, half the memory traffic
    x = function(x, alpha)
    if gain != 1:
        x = x * gain
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return x
