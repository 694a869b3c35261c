"""When the ops run as CUDA kernels, and how these become operators of torch.

Operators are registered for CUDA alone. Everything else, a GPU for which kernels cannot be had included, takes the
path in plain torch, which is also the specification.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from torch_utils.cuda import driver
from torch_utils.cuda.compiler import KernelError
from torch_utils.cuda.launch import TYPES, Kernel, Launch

NAMESPACE = "qc_stylegan"
SWITCH = "QC_STYLEGAN_KERNELS"
DEVICE_TYPE = "cuda"

IMPLEMENTATIONS: dict[str, Callable] = {}
PROBES: list[Kernel] = []

_library = torch.library.Library(NAMESPACE, "DEF")
_enabled = True


def serve(x: Tensor) -> bool:
    """Return whether the operators compute on tensors like `x`; the first answer for a device may take seconds."""
    return _enabled and x.device.type == DEVICE_TYPE and x.dtype in TYPES and _ready(x.device.index)


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Take the path in plain torch within."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def cause(device: int) -> str:
    """Return in a few words why kernels cannot be had on a CUDA device; empty where they can."""
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


@torch.compiler.assume_constant_result
def _ready(device):
    return _found(device)


@functools.cache
def _found(device):
    reason = cause(device)
    if reason and reason != f"{SWITCH}=0":
        _warn_once(reason)
    return not reason


_warned = False


def _warn_once(reason):
    global _warned
    if not _warned:
        _warned = True
        logging.warning("no CUDA kernels for bias_act and upfirdn2d: %s; plain torch runs instead, slower", reason)


def execute(launch: Launch, tensors: list[Tensor | None]) -> None:
    """Run a kernel on dense tensors of one device."""
    try:
        driver.execute(launch, tensors)
    except KernelError as error:
        raise KernelError(f"{launch.kernel.name}: {error}; set {SWITCH}=0 to run without kernels") from error


def dense(x: Tensor) -> Tensor:
    """Return `x` where its storage is in order, contiguous or channels_last; else a contiguous copy."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def define(schema: str) -> None:
    """Declare an operator."""
    _library.define(schema)


def implement(name: str) -> Callable[[Callable], Callable]:
    """Decorate the function that computes an operator on a GPU."""

    def register(function):
        IMPLEMENTATIONS[name] = function
        _library.impl(name, function, "CUDA")
        return function

    return register


def shape_of(name: str) -> Callable[[Callable], Callable]:
    """Decorate the function that makes an operator's empty output, for `torch.compile`."""
    return torch.library.register_fake(f"{NAMESPACE}::{name}", lib=_library)


def differentiate(name: str, backward: Callable, keep: Callable) -> None:
    """Give an operator its derivative; `keep(ctx, inputs, output)` saves what `backward(ctx, grad)` needs."""
    torch.library.register_autograd(f"{NAMESPACE}::{name}", backward, setup_context=keep, lib=_library)
