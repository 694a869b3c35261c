"""Arrays and numbers of numpy in pickles: plain numbers only, as many as the shape says."""

import math
import re
from collections.abc import Callable

import numpy as np

from dnnlib.errors import UserError
from torch_utils.untrusted.tensors import MOST_AXES


class InertDtype:
    """A numpy dtype in the making: its code, then its byte order."""

    def __init__(self, code: str, *_):
        if not isinstance(code, str) or not re.fullmatch("[fiu][1248]|b1", code) or code == "f1":
            raise UserError(f"holds numpy arrays of type {ascii(code)[:40]}, which are no plain numbers; not opened")
        self.dtype = np.dtype(code)

    def set_state(self, state: tuple) -> None:
        """Take the byte order from what numpy pickles of a dtype."""
        order = state[1]
        if order not in ("<", ">", "|", "=") or len(order) != 1:
            raise ValueError("no byte order")
        self.dtype = self.dtype.newbyteorder(order)


class InertArray:
    """A numpy array in the making: `values` is None until its state arrives."""

    def __init__(self):
        self.values: np.ndarray | None = None

    def set_state(self, state: tuple) -> None:
        """Take shape, type and bytes; no copy is made. Raises ValueError where they do not fit together."""
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, InertDtype) or not isinstance(content, bytes) or len(shape) > MOST_AXES:
            raise ValueError("no array")
        if math.prod(shape) * dtype.dtype.itemsize != len(content) or min(shape, default=0) < 0:
            raise ValueError("an array whose shape does not match its bytes")
        self.values = np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: object, *_) -> InertArray:
    return InertArray()


def _scalar(dtype: InertDtype, content: bytes) -> int | float | bool:
    if not isinstance(dtype, InertDtype) or len(content) != dtype.dtype.itemsize:
        raise ValueError("no number")
    return np.frombuffer(content, dtype.dtype)[0].item()


def _class(*_):
    raise ValueError("numpy.ndarray called")


NAMES: dict[tuple[str, str], Callable] = {
    ("numpy", "dtype"): InertDtype,
    ("numpy", "ndarray"): _class,
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
}
