"""Arrays and numbers of numpy in pickles: plain numbers only, and exactly as many as the shape says."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from dnnlib.errors import UserError
from torch_utils.untrusted.tensors import MOST_AXES


class PickledDtype:
    """A numpy dtype, made from its code; its state adds the byte order."""

    def __init__(self, code: str | bytes, *_: Any):
        code = code.decode("latin1") if isinstance(code, bytes) else code  # of Python 2
        if not isinstance(code, str) or not re.fullmatch("[fiu][1248]|b1", code) or code == "f1":
            raise UserError(f"holds numpy arrays of type {ascii(code)[:40]}, which are no plain numbers; not opened")
        self.dtype = np.dtype(code)

    def set_state(self, state: tuple) -> None:
        """Set the byte order from a dtype's state in a pickle."""
        order: Any = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "=") or len(order) != 1:
            raise ValueError("no byte order")
        self.dtype = self.dtype.newbyteorder(order)


class PickledArray:
    """A numpy array, made empty; its state adds the values."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None

    def set_state(self, state: tuple) -> None:
        """Set the values from shape, type and bytes, without a copy; raise ValueError when these do not match."""
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, PickledDtype) or not isinstance(content, bytes) or len(shape) > MOST_AXES:
            raise ValueError("no array")
        if math.prod(shape) * dtype.dtype.itemsize != len(content) or min(shape, default=0) < 0:
            raise ValueError("an array whose shape does not match its bytes")
        self.values = np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: object, *_: Any) -> PickledArray:
    return PickledArray()


def _scalar(dtype: PickledDtype, content: bytes) -> int | float | bool:
    if not isinstance(dtype, PickledDtype) or len(content) != dtype.dtype.itemsize:
        raise ValueError("no number")
    return np.frombuffer(content, dtype.dtype)[0].item()


def _refuse_class(*_: Any) -> None:
    raise ValueError("numpy.ndarray called")


# Functions for the names of numpy that a pickle may contain.
NAMES: dict[tuple[str, str], Callable] = {
    ("numpy", "dtype"): PickledDtype,
    ("numpy", "ndarray"): _refuse_class,
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
}
