"""Published directions: files with nothing but a vector, .npy, .npz or .pt; nothing in them can run code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib.arrays import read_array, read_arrays
from dnnlib.errors import UserError
from dnnlib.limits import VECTOR_BYTES
from dnnlib.reading import open_file
from torch_utils.untrusted.state_dicts import read_torch

CURE = "it is not opened as it is, so store the vector alone, as .npy"


class SeveralArraysError(UserError):
    """A file is whole, but nothing says which of its arrays is meant."""


def read_vector(path: Path) -> Tensor:
    """Return the vector in a .npy, .npz or .pt file, float32 `[D]` or `[rows, D]`, without leading axes of length 1.

    Raises UserError for a file that is damaged, holds something else, or needs code to run in order to be read.
    """
    open_file(path, VECTOR_BYTES).close()
    try:
        vector = torch.as_tensor(READERS[path.suffix.lower()](path)).float()
    except SeveralArraysError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise UserError(f"{path} is damaged or holds more than a vector of numbers", CURE) from error
    while vector.ndim > 1 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim not in (1, 2) or vector.numel() == 0:
        shape = " x ".join(str(size) for size in vector.shape) or "one number"
        raise UserError(f"{path} holds {shape}, must be a vector or one for each of the ws; give such a file")
    return vector


def _read_array(path: Path) -> Any:
    return _native(read_array(path))


def _read_archive(path: Path) -> Any:
    return _native(_single_entry(read_arrays(path), path))


def _native(array: np.ndarray) -> np.ndarray:
    """Return an array in this machine's order of bytes, the only one that torch knows."""
    return array.astype(array.dtype.newbyteorder("="))


def _read_torch(path: Path) -> Any:
    values = read_torch(path)
    return _single_entry(values, path) if isinstance(values, dict) else values


def _single_entry(arrays: Mapping[str, Any], path: Path) -> Any:
    """Return the only array of a file; raise UserError where there are several or none."""
    if len(arrays) != 1:
        names = ", ".join(str(name) for name in list(arrays)[:5])
        raise SeveralArraysError(f"{path} holds {len(arrays)} arrays ({names}), must be one; store the direction alone")
    return next(iter(arrays.values()))


READERS = {".npy": _read_array, ".npz": _read_archive, ".pt": _read_torch}
