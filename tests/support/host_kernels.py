"""Run the CUDA kernels on a CPU: their very source, compiled by the host's C++ compiler, on the very launch plans."""

import contextlib
import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from torch_utils.cuda import operators
from torch_utils.cuda.driver import parameters
from torch_utils.cuda.launch import Kernel, Launch, read_source
from torch_utils.ops import bias_act

Result = TypeVar("Result")

COMPILER = shutil.which("g++") or shutil.which("clang++")
_functions: dict[Kernel, ctypes._CFuncPtr] = {}
_libraries = []  # loaded, and so never to be unloaded


def execute(launch: Launch, tensors: list[torch.Tensor | None], blocks: range | None = None) -> None:
    """Run a launch, or some of its blocks, on tensors of the CPU."""
    if launch.kernel not in _functions:
        build([launch.kernel])
    values, types = parameters(launch, tensors)
    blocks = range(launch.blocks) if blocks is None else blocks
    arguments = [kind(value) for kind, value in zip(types, values, strict=True)]
    _functions[launch.kernel](
        ctypes.c_uint(blocks.start), ctypes.c_uint(blocks.stop), ctypes.c_uint(launch.threads), *arguments
    )


def build(wanted: Iterable[Kernel]) -> None:
    """Compile kernels, all in one go."""
    wanted = [kernel for kernel in dict.fromkeys(wanted) if kernel not in _functions]
    if not wanted:
        return
    header = Path(__file__).with_name("host_cuda.h").read_text(encoding="utf-8")
    parts = [header, read_source("numbers.cuh")]
    for number, kernel in enumerate(wanted):
        source = read_source(f"{kernel.name}.cu")
        parameters = re.search(r"KERNEL\((.*?)\)\n", source, re.DOTALL)[1]
        names = ", ".join(re.findall(r"(\w+)(?:,|$)", parameters))
        macros = kernel.definitions()[1:]
        parts += [f"#define {name} {value}\n" for name, value in macros]
        parts.append(f"#define KERNEL kernel_{number}\nnamespace kernels_{number} {{\n{source}\n")
        parts.append(
            f'extern "C" void run_{number}(unsigned begin_, unsigned end_, unsigned threads_, {parameters})\n'
            f"{{ run_blocks(begin_, end_, threads_, [=] {{ kernel_{number}({names}); }}); }}\n}}\n"
        )
        parts += [f"#undef {name}\n" for name in ("KERNEL", *(name for name, _ in macros))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cpp"
        path.write_text("".join(parts), encoding="utf-8")
        flags = ["-std=c++17", "-O0", "-w", "-shared", "-fPIC", "-ffp-contract=off", "-fmax-errors=3"]
        subprocess.run([COMPILER, *flags, "-o", f"{path}.so", path], check=True)
        library = ctypes.CDLL(f"{path}.so")
    _libraries.append(library)
    _functions.update({kernel: getattr(library, f"run_{number}") for number, kernel in enumerate(wanted)})


def kernels_of(run: Callable[[], object]) -> list[Kernel]:
    """Return every kernel that `run()` launches, on outputs that nobody computes."""
    found = []
    with on_host() as patch:
        patch.setattr(operators, "execute", lambda launch, tensors: found.append(launch.kernel))
        run()
    return list(dict.fromkeys(found))


def on_built_kernels(run: Callable[[], Result]) -> Result:
    """Return `run()` by the kernels; those that are missing are compiled in one go before."""
    build(kernels_of(run))
    with on_host():
        return run()


@functools.cache
def _registered_for_cpu():
    library = torch.library.Library(operators.NAMESPACE, "IMPL")
    for name, function in operators.IMPLEMENTATIONS.items():
        library.impl(name, function, "CPU")
    return library


@contextlib.contextmanager
def on_host(is_traced: bool | None = None) -> Iterator[pytest.MonkeyPatch]:
    """Let the ops compute by their kernels on the CPU; yield what patches more for as long.

    `is_traced` decides whether they call torch's operators, as under a compiler; None leaves that to the ops.
    """
    _registered_for_cpu()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operators, "DEVICE_TYPE", "cpu")
        patch.setattr(operators, "_ready", lambda device: True)
        patch.setattr(operators, "execute", execute)
        if is_traced is not None:
            patch.setattr(operators, "is_traced", lambda: is_traced)
        patch.setattr(bias_act, "SMALLEST_FOR_KERNEL", 0)
        yield patch
