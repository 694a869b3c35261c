"""Print what runs the ops on this machine, what is missing, and why.

python -m torch_utils.doctor [--arch sm_90]
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cache import cache_folder
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import counted
from dnnlib.limits import GIB, MIB
from dnnlib.remote.hugging_face import is_logged_in
from dnnlib.remote.shipped import FOLDER, SHIPPED
from dnnlib.running.processors import usable_processors
from dnnlib.version import __version__
from torch_utils.cuda import cache

if TYPE_CHECKING:
    from torch_utils.cuda.launch import Kernel

OPTIONAL = {
    "cv2": "degradations and video",
    "pyspng": "faster PNG, else Pillow",
    "av": "video",
    "pillow_heif": "photos of iPhones; the extra heic",
    "gradio": "the web page; the extra web",
    "onnx": "export to ONNX; the extra export",
    "matplotlib": "plot; the extra plot",
    "wandb": "--log=wandb; the extra wandb",
    "mlflow": "--log=mlflow; the extra mlflow",
}


@commands.command()
@click.option("--arch", default="sm_90", help="Architecture to compile for without a GPU: sm_XX, or compute_XX (PTX).")
@commands.version_option
@one_sentence_errors
def main(arch: str) -> None:
    """Print what is installed, what is missing, and which path each op takes."""
    import torch

    from torch_utils.cuda import bias_act, epilogue, operators, upfirdn2d  # noqa: F401 - importing them registers their kernels
    from torch_utils.cuda.compiler import target, version

    _machine()
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
    _line("kernel cache", f"{cache.folder()}, {counted(len(entries), 'entry', 'entries')}")
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


def _machine() -> None:
    """Print what the program runs on, and what lies ready for it."""
    _line("QC-StyleGAN", __version__)
    _line("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    _line("processors", f"{os.cpu_count()}, of which this process may use {usable_processors()}")
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        _line("memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / GIB:.1f} GiB")
    there = [name for name, file in SHIPPED.items() if (FOLDER / file).is_file()]
    _line("networks", ", ".join(there) or "none came with the program")
    root = cache_folder("")
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        _line(f"cache, {folder.name}", f"{folder}, {counted(len(files), 'file')}, {size / MIB:.1f} MiB")
    states = {
        True: "logged in",
        False: "not logged in: public networks alone",
        None: "huggingface_hub is not installed",
    }
    _line("Hugging Face", states[is_logged_in()])


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
