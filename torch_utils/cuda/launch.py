"""Kernel launches as plain data: planned anywhere, executed by a GPU or by a test."""

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

SOURCES = Path(__file__).parent
THREADS = 256  # most threads of a block
MOST_BLOCKS = 2**31 - 1  # most blocks of a grid
# Types of tensors that the kernels take, and the struct in `numbers.cuh` that reads and writes each.
TYPES = {torch.float32: "Float32", torch.float16: "Float16", torch.bfloat16: "BFloat16"}

# A number among a kernel's arguments, of exactly the type of its parameter.
Scalar = np.int32 | np.int64 | np.float32
_CTYPES: dict[type, type] = {np.int32: ctypes.c_int32, np.int64: ctypes.c_int64, np.float32: ctypes.c_float}


@dataclass(frozen=True)
class Kernel:
    """One specialisation of a source file: the stem of its name, and the macros that it is compiled with."""

    name: str
    macros: tuple[tuple[str, str | int], ...]

    def source(self) -> str:
        """Return the whole source, which has no `#include`."""
        return read_source("numbers.cuh") + read_source(f"{self.name}.cu")

    def definitions(self) -> list[tuple[str, str]]:
        """Return all macros with their values."""
        return [("KERNEL", self.name), *((name, str(value)) for name, value in self.macros)]


@dataclass(frozen=True)
class Launch:
    """A kernel, a grid of `blocks` times `threads`, and the scalars after the pointers in its arguments.

    `functions` keeps the driver's handle of the kernel by the index of the device.
    """

    kernel: Kernel
    blocks: int
    threads: int
    scalars: tuple[Scalar, ...]
    functions: dict[int, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        assert 0 < self.blocks <= MOST_BLOCKS, f"{self.blocks} blocks, a grid holds 1 to {MOST_BLOCKS}"
        assert 0 < self.threads <= THREADS, f"{self.threads} threads, kernels are compiled for at most {THREADS}"

    @functools.cached_property
    def values(self) -> tuple[int | float, ...]:
        """The scalars as Python's numbers."""
        return tuple(scalar.item() for scalar in self.scalars)

    @functools.cached_property
    def types(self) -> tuple[type, ...]:
        """The scalars' C types."""
        return tuple(_CTYPES[type(scalar)] for scalar in self.scalars)


# Function that executes a launch on tensors (None: a null pointer), which are the first arguments of the kernel.
Execute = Callable[[Launch, list[torch.Tensor | None]], None]


def power_of_two(number: int) -> int:
    """Return log2 of the smallest power of two that is at least `number`."""
    return max(number - 1, 0).bit_length()


def alignment(*tensors: torch.Tensor | None) -> int:
    """Return the largest power of two up to 16 that divides the addresses of all tensors."""
    together = 16
    for tensor in tensors:
        together |= 0 if tensor is None else tensor.data_ptr()
    return together & -together


@functools.cache
def read_source(name: str) -> str:
    """Return the text of a source file in this folder."""
    return (SOURCES / name).read_text(encoding="utf-8")
