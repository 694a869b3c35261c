"""Compile kernels with NVRTC, the compiler library of every CUDA build of torch; needs no toolkit and no driver."""

import functools
from types import ModuleType
from typing import Any

from dnnlib.errors import UserError
from torch_utils.cuda import cache
from torch_utils.cuda.launch import Kernel


class KernelError(UserError):
    """A kernel cannot be compiled, loaded or launched."""


def version() -> str:
    """Return the version of NVRTC; raise KernelError without one."""
    return ".".join(map(str, _call("nvrtcVersion")))


def target(capability: tuple[int, int], supported: list[int] | None = None) -> str:
    """Return the target of the compiler for a device of this compute capability.

    `sm_90` is machine code for the device itself. A device that is newer than the compiler gets `compute_90`: code for
    the newest known device, which its driver translates.
    """
    device = capability[0] * 10 + capability[1]
    supported = _call("nvrtcGetSupportedArchs")[0] if supported is None else supported
    if device in supported:
        return f"sm_{device}"
    older = [architecture for architecture in supported if architecture < device]
    if not older:
        raise KernelError(f"NVRTC {version()} compiles for sm_{min(supported)} and newer, the device is sm_{device}")
    return f"compute_{max(older)}"


def compile_kernel(kernel: Kernel, target: str) -> bytes:
    """Return machine code (`sm_90`) or PTX (`compute_90`), from the cache or newly compiled.

    Raises KernelError without NVRTC, and with the first error of the compiler.
    """
    options = [f"--gpu-architecture={target}", "--std=c++17"]
    options += [f"-D{name}={value}" for name, value in kernel.definitions()]
    path = cache.entry_path(kernel.name, kernel.source(), options, version())
    code = cache.read_entry(path)
    if code is None:
        code = _compile(kernel.source(), f"{kernel.name}.cu", options)
        cache.write_entry(path, code)
    return code


def _compile(source: str, name: str, options: list[str]) -> bytes:
    (program,) = _call("nvrtcCreateProgram", source.encode(), name.encode(), 0, None, None)
    try:
        _call("nvrtcCompileProgram", program, len(options), [option.encode() for option in options])
        return _output(program, "PTX" if options[0].rpartition("=")[2].startswith("compute") else "CUBIN")
    except KernelError as error:
        raise KernelError(f"{name} does not compile: {_first_error(program) or error}") from error
    finally:
        _call("nvrtcDestroyProgram", program)


def _output(program: Any, kind: str) -> bytes:
    (size,) = _call(f"nvrtcGet{kind}Size", program)
    buffer = bytearray(size)
    _call(f"nvrtcGet{kind}", program, buffer)
    return bytes(buffer)


def _first_error(program: Any) -> str:
    (size,) = _call("nvrtcGetProgramLogSize", program)
    log = bytearray(size)
    _call("nvrtcGetProgramLog", program, log)
    lines = log.decode(errors="replace").splitlines()
    return next((line for line in lines if "error" in line), "")


def _call(function: str, *arguments: Any) -> tuple:
    """Call a function of NVRTC; return its results as a tuple."""
    nvrtc = _nvrtc()
    status, *results = getattr(nvrtc, function)(*arguments)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise KernelError(f"{function} answers {status.name}")
    return tuple(results)


@functools.cache
def _nvrtc() -> ModuleType:
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()  # the library itself is loaded by the first call
    except ImportError as error:
        raise KernelError("the package cuda-bindings is not installed") from error
    except (RuntimeError, OSError) as error:
        raise KernelError("NVRTC is not found; install nvidia-cuda-nvrtc") from error
    return nvrtc
