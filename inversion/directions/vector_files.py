"""Published directions: files with nothing but a vector, .npy, .npz or .pt; nothing in them can run code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError


def read_vector(path: Path) -> Tensor:
    """Return the vector in a .npy, .npz or .pt file, float32 `[D]` or `[rows, D]`, without leading axes of length 1.

    Raises UserError for a file that is damaged, holds something else, or needs code to run in order to be read.
    """
    try:
        values = READERS[path.suffix.lower()](path)
        vector = torch.as_tensor(values).float()
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or 'it is damaged'}; check the file") from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise _not_a_vector(path) from error
    while vector.ndim > 1 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim not in (1, 2) or vector.numel() == 0:
        shape = " x ".join(str(size) for size in vector.shape) or "one number"
        raise UserError(f"{path} holds {shape}, must be a vector or one for each of the ws; give such a file")
    return vector


def _read_array(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _read_archive(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return _single_entry({name: arrays[name] for name in arrays.files}, path)


def _read_torch(path: Path) -> Any:
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise _not_a_vector(path) from error
    return _single_entry(values, path) if isinstance(values, dict) else values


def _single_entry(arrays: Mapping[str, Any], path: Path) -> Any:
    """Return the only array of a file; raise UserError where there are several or none."""
    if len(arrays) != 1:
        names = ", ".join(str(name) for name in list(arrays)[:5])
        raise UserError(f"{path} holds {len(arrays)} arrays ({names}), must be one; store the direction alone")
    return next(iter(arrays.values()))


def _not_a_vector(path: Path) -> UserError:
    return UserError(
        f"{path} is damaged or holds more than a vector of numbers; it is not opened as it is, so store the vector "
        "alone, as .npy"
    )


READERS = {".npy": _read_array, ".npz": _read_archive, ".pt": _read_torch}
