"""Load compiled kernels on a device and start them on torch's current stream."""

import ctypes
import functools

import numpy as np
import torch
from torch import Tensor

from torch_utils.cuda.compiler import KernelError, compile_kernel, target
from torch_utils.cuda.launch import Kernel, Launch

_CTYPES = {np.int32: ctypes.c_int32, np.int64: ctypes.c_int64, np.float32: ctypes.c_float}


@functools.cache
def load(kernel: Kernel, device: int):
    """Return the driver's handle of a kernel on a device; raise KernelError where it cannot be had."""
    code = compile_kernel(kernel, target(torch.cuda.get_device_capability(device)))
    with torch.cuda.device(device):
        _bind_context(device)
        (module,) = _call("cuModuleLoadData", code)
        return _call("cuModuleGetFunction", module, kernel.name.encode())[0]


def execute(launch: Launch, tensors: list[Tensor | None]) -> None:
    """Start a kernel on the device and the current stream of the first tensor; return at once."""
    device = tensors[0].device.index
    function = load(launch.kernel, device)
    stream = torch.cuda.current_stream(device).cuda_stream
    with torch.cuda.device(device):
        _bind_context(device)
        grid = (launch.blocks, 1, 1, launch.threads, 1, 1)
        _call("cuLaunchKernel", function, *grid, 0, stream, parameters(launch, tensors), 0)


def parameters(launch: Launch, tensors: list[Tensor | None]) -> tuple[tuple, tuple]:
    """Return the values and the types of a kernel's arguments: pointers first, then scalars."""
    pointers = tuple(0 if tensor is None else tensor.data_ptr() for tensor in tensors)
    values, types = _scalars(launch)
    return pointers + values, (ctypes.c_void_p,) * len(pointers) + types


@functools.lru_cache(maxsize=1024)
def _scalars(launch):
    values = tuple(scalar.item() for scalar in launch.scalars)
    return values, tuple(_CTYPES[type(scalar)] for scalar in launch.scalars)


def _bind_context(device):
    """Give a thread in which torch has not used the device yet the context that torch uses."""
    (context,) = _call("cuCtxGetCurrent")
    if int(context) == 0:
        (handle,) = _call("cuDeviceGet", device)
        (primary,) = _call("cuDevicePrimaryCtxRetain", handle)
        _call("cuCtxSetCurrent", primary)


def _call(function, *arguments):
    """Call a function of the driver; return its results as a tuple."""
    driver = _driver()
    status, *results = getattr(driver, function)(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise KernelError(f"{function} answers {status.name}")
    return tuple(results)


@functools.cache
def _driver():
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise KernelError("the package cuda-bindings is not installed") from error
    return driver
