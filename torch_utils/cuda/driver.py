"""CUDA driver: load compiled kernels on a device and launch them on torch's current stream."""

import ctypes
import functools
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from torch_utils.cuda.compiler import KernelError, compile_kernel, target
from torch_utils.cuda.launch import Kernel, Launch


@functools.cache
def load(kernel: Kernel, device: int) -> Any:
    """Return the driver's handle of a kernel on a device; raise KernelError when it cannot be compiled or loaded."""
    code = compile_kernel(kernel, target(torch.cuda.get_device_capability(device)))
    with torch.cuda.device(device):
        _bind_context(device)
        (module,) = _call("cuModuleLoadData", code)
        return _call("cuModuleGetFunction", module, kernel.name.encode())[0]


def execute(launch: Launch, tensors: list[Tensor | None]) -> None:
    """Launch a kernel on the device and the current stream of the first tensor; return at once."""
    output = tensors[0]
    assert output is not None, "the first argument of every kernel is its output"
    device = output.device.index
    if device == torch.cuda.current_device():
        _execute(launch, tensors, device)
        return
    with torch.cuda.device(device):
        _execute(launch, tensors, device)


def _execute(launch: Launch, tensors: list[Tensor | None], device: int) -> None:
    """Launch on torch's current device."""
    function = _function(launch, device)
    stream = torch.cuda.current_stream(device).cuda_stream
    _bind_context(device)
    grid = (launch.blocks, 1, 1, launch.threads, 1, 1)
    _call("cuLaunchKernel", function, *grid, 0, stream, parameters(launch, tensors), 0)


def _function(launch: Launch, device: int) -> Any:
    """Return `load`'s handle, which the launch itself keeps: looking it up by the kernel hashes many words."""
    function = launch.functions.get(device)
    if function is None:
        function = launch.functions[device] = load(launch.kernel, device)
    return function


def parameters(launch: Launch, tensors: list[Tensor | None]) -> tuple[tuple, tuple]:
    """Return the values and the types of a kernel's arguments: pointers first, then scalars."""
    pointers = tuple([0 if tensor is None else tensor.data_ptr() for tensor in tensors])
    return pointers + launch.values, (ctypes.c_void_p,) * len(pointers) + launch.types


def _bind_context(device: int) -> None:
    """Set torch's context in a thread in which torch has not used the device yet."""
    (context,) = _call("cuCtxGetCurrent")
    if int(context) == 0:
        (handle,) = _call("cuDeviceGet", device)
        (primary,) = _call("cuDevicePrimaryCtxRetain", handle)
        _call("cuCtxSetCurrent", primary)


def _call(function: str, *arguments: Any) -> tuple:
    """Call a function of the driver; return its results as a tuple."""
    driver = _driver()
    status, *results = getattr(driver, function)(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise KernelError(f"{function} answers {status.name}")
    return tuple(results)


@functools.cache
def _driver() -> ModuleType:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise KernelError("the package cuda-bindings is not installed") from error
    return driver
