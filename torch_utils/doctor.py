"""Print what runs the ops on this machine, what is missing, and why.

python -m torch_utils.doctor [--arch sm_90]
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from torch_utils.cuda import cache

if TYPE_CHECKING:
    from torch_utils.cuda.launch import Kernel

OPTIONAL = {"cv2": "degradations and video", "pyspng": "faster PNG, else Pillow", "av": "video"}


@commands.command()
@click.option("--arch", default="sm_90", help="Architecture to compile for without a GPU: sm_XX, or compute_XX (PTX).")
@commands.version_option
@one_sentence_errors
def main(arch: str) -> None:
    """Print what is installed, what is missing, and which path each op takes."""
    import torch

    from torch_utils.cuda import bias_act, operators, upfirdn2d  # noqa: F401 - importing them registers their kernels
    from torch_utils.cuda.compiler import target, version

    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    _line("torch", f"{torch.__version__}, {built_for}, {torch.get_num_threads()} CPU threads")
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    for device in devices:
        major, minor = torch.cuda.get_device_capability(device)
        _line(f"cuda:{device}", f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}")
    if not devices:
        _line("GPU", "none that torch can use")
    _line("cuda-bindings", _installed("cuda-bindings"))
    _line("NVRTC", _answer(version))
    entries = list(cache.folder().glob("*.kernel"))
    _line("kernel cache", f"{cache.folder()}, {len(entries)} entries")
    targets = {_answer(partial(target, torch.cuda.get_device_capability(device))) for device in devices}
    for architecture in sorted(targets) or [arch]:
        for kernel in operators.PROBES:
            _line(kernel.name, _answer(partial(_compile, kernel, architecture)))
    for name, purpose in OPTIONAL.items():
        _line(name, "installed" if importlib.util.find_spec(name) else f"not installed ({purpose})")
    _line("ops on the CPU", "plain torch")
    for device in devices:
        reason = operators.cause(device)
        _line(f"ops on cuda:{device}", f"plain torch: {reason}" if reason else "CUDA kernels")


def _line(name: str, text: str) -> None:
    click.echo(f"{name:<22}{text}")


def _answer(question: Callable[[], str]) -> str:
    """Return the result of a function, or the text of its KernelError."""
    from torch_utils.cuda.compiler import KernelError

    try:
        return question()
    except KernelError as error:
        return str(error)


def _compile(kernel: Kernel, target: str) -> str:
    from torch_utils.cuda.compiler import compile_kernel

    return f"compiles for {target}, {len(compile_kernel(kernel, target)):,} bytes"


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed; CUDA builds of torch bring it on Linux, else: pip install cuda-bindings"


if __name__ == "__main__":
    main()
