"""Modules from files: a header may ask for no more memory than the file has numbers for."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from dnnlib.errors import UserError, one_line
from torch_utils.checkpoint import load_tensors, tensor_shapes

CURE = "copy or download it again"
Shapes = Mapping[str, tuple[int, ...]]
M = TypeVar("M", bound=nn.Module)

# Functions that make tensors from sizes alone, which all fresh weights come from.
_FACTORIES = (torch.randn, torch.rand, torch.empty, torch.zeros, torch.ones, torch.full)
_NUMBERS = 1 << 20  # that a module may hold beside what is in its file, such as filters
_TENSORS = 1 << 10


def load_module(build: Callable[[], M], path: str | os.PathLike, prefix: str, what: str) -> M:
    """Return a module with the tensors of a file, on the CPU.

    Args:
        build: function that makes the module with fresh weights, as the file's header describes it.
        path: file that `save_tensors` wrote.
        prefix: beginning of the module's tensors in the file.
        what: name of the module's kind in errors.

    Raises UserError where the header describes none, or another module than the tensors, before memory is taken for it;
    and as `load_tensors` does.
    """
    shapes = tensor_shapes(path, prefix)
    with blaming_header(path, what), Allowance(shapes):
        module = build()
    _require_shapes(module, shapes, path)
    module.load_state_dict(load_tensors(path, prefix), strict=True)
    return module


@contextmanager
def blaming_header(path: str | os.PathLike, what: str) -> Iterator[None]:
    """Turn whatever goes wrong with values of a header into a UserError about it."""
    try:
        yield
    except Exception as error:  # a header of another program may hold any values
        reason = error.problem if isinstance(error, UserError) else one_line(error)
        raise UserError(f"the header of {path} describes no {what} ({reason})", CURE) from error


class Allowance(TorchFunctionMode):
    """Within `with`, fresh tensors may have about as many numbers in all as tensors of the given shapes have.

    More is a UserError, before memory is taken. (Modules on the meta device would take none at all, but torch then
    imports a compiler for seconds.)
    """

    def __init__(self, shapes: Shapes):
        super().__init__()
        self.held = sum(math.prod(shape) for shape in shapes.values())
        self.numbers = 2 * self.held + _NUMBERS
        self.tensors = 4 * len(shapes) + _TENSORS

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES:
            self._spend(_count(args, kwargs))
        return func(*args, **kwargs)

    def _spend(self, count: int) -> None:
        self.numbers -= count
        self.tensors -= 1
        if self.numbers < 0 or self.tensors < 0:
            raise UserError(f"it asks for more than the {self.held:,} numbers of the file")


def _count(args: tuple, kwargs: Mapping[str, Any]) -> int:
    """Return how many numbers a call of a factory asks for."""
    sizes = kwargs["size"] if "size" in kwargs else args[0] if args and isinstance(args[0], tuple | list) else args
    return math.prod(size for size in sizes if isinstance(size, int))


def _require_shapes(module: nn.Module, shapes: Shapes, path: str | os.PathLike) -> None:
    """Raise UserError unless a module has tensors of these names and shapes."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            here, there = (_text(of.get(name)) for of in (shapes, wanted))
            problem = f"{path} does not hold what its header says ({name}: {here} instead of {there})"
            raise UserError(problem, f"{CURE}, or make it anew where another version of the program wrote it")


def _text(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "nothing"
    return "x".join(map(str, shape)) or "a number"
