"""CUDA kernels as operators of torch, and the decision whether the ops use them.

Operators are registered for CUDA only. All other devices, and GPUs without kernels, take the path in plain torch, which
is also the specification.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from dnnlib.remarks import remark
from torch_utils.cuda import driver
from torch_utils.cuda.compiler import KernelError
from torch_utils.cuda.launch import TYPES, Kernel, Launch

NAMESPACE = "qc_stylegan"
SWITCH = "QC_STYLEGAN_KERNELS"
DEVICE_TYPE = "cuda"

IMPLEMENTATIONS: dict[str, Callable] = {}  # name of the operator -> function that computes it
PROBES: list[Kernel] = []  # kernels that must load before any is used
_EAGER: dict[str, Callable[..., Tensor]] = {}  # name of an operator with a derivative -> function that autograd knows

F = TypeVar("F", bound=Callable)
Find = Callable[[str], Callable[..., Tensor]]  # from the name of an operator to what computes it

_library = torch.library.Library(NAMESPACE, "DEF")
_enabled = True


def serve(x: Tensor) -> bool:
    """Return whether the operators take tensors like `x`; the first call for a device may take seconds."""
    return _enabled and x.device.type == DEVICE_TYPE and x.dtype in TYPES and _ready(x.device.index)


def is_traced() -> bool:
    """Return whether a compiler or exporter watches: it must find the operators, everything else may run faster."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Take the path in plain torch within a `with` statement."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def cause(device: int) -> str:
    """Return in a few words why a CUDA device has no kernels; empty when it has."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0"
    if torch.version.cuda is None:
        return "this build of torch is not for CUDA"
    try:
        for kernel in PROBES:
            driver.load(kernel, device)
    except KernelError as error:
        return str(error)
    return ""


def _ready(device: int) -> bool:
    return _is_available(device)


# The mark that `torch.compiler.assume_constant_result` sets. That function would import the whole compiler, which takes
# half of the time in which a command starts.
_ready._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _is_available(device: int) -> bool:
    reason = cause(device)
    if reason and reason != f"{SWITCH}=0":
        remark(f"no CUDA kernels: {reason}; plain torch runs instead, slower")
    return not reason


def execute(launch: Launch, tensors: list[Tensor | None]) -> None:
    """Run a kernel on dense tensors of one device."""
    try:
        driver.execute(launch, tensors)
    except KernelError as error:
        raise KernelError(f"{launch.kernel.name}: {error}; set {SWITCH}=0 to run without kernels") from error


def dense(x: Tensor) -> Tensor:
    """Return `x` if it is dense, contiguous or channels_last; else a contiguous copy."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def with_strides_of(reference: Tensor, tensor: Tensor) -> Tensor:
    """Return `tensor`, copied unless it has the strides of `reference` already."""
    return tensor if tensor.stride() == reference.stride() else torch.empty_like(reference).copy_(tensor)


def define(schema: str) -> None:
    """Declare an operator by its schema."""
    _library.define(schema)


def implement(name: str) -> Callable[[F], F]:
    """Decorate the function that computes an operator on a GPU."""

    def register(function: F) -> F:
        IMPLEMENTATIONS[name] = function
        _library.impl(name, function, "CUDA")
        return function

    return register


def shape_of(name: str) -> Callable[[F], F]:
    """Decorate the function that returns an empty tensor like an operator's output, for `torch.compile`."""
    return torch.library.register_fake(f"{NAMESPACE}::{name}", lib=_library)


def differentiate(name: str, backward: Callable[..., tuple], save: Callable[..., None]) -> None:
    """Register an operator's derivative.

    Args:
        name: name of the operator, which is implemented already.
        backward: function `(find, ctx, grad)` that returns the gradients of all inputs; `find(name)` gives the
            operators that it computes them by.
        save: function `(ctx, inputs, output)` that saves what `backward` needs.
    """

    class Eager(torch.autograd.Function):
        """The operator without `torch.library`, whose own way to a derivative takes the host several times as long."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Tensor:
            output = IMPLEMENTATIONS[name](*inputs)
            save(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple:
            return backward(_EAGER.__getitem__, ctx, grad)

    _EAGER[name] = Eager.apply
    traced = functools.partial(backward, _traced)
    torch.library.register_autograd(f"{NAMESPACE}::{name}", traced, setup_context=save, lib=_library)


def call(name: str, *arguments: Any) -> Tensor:
    """Return what an operator with a derivative computes, in the way that suits who asks."""
    return _traced(name)(*arguments) if is_traced() else _EAGER[name](*arguments)


def _traced(name: str) -> Callable[..., Tensor]:
    return getattr(torch.ops.qc_stylegan, name)
