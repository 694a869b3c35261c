"""Files of NumPy (.npy, .npz), read without pickles: plain numbers and texts, and no more of them than the file has."""

import io
import math
import os
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from dnnlib import limits
from dnnlib.archives import open_zip
from dnnlib.reading import explained, open_file, read_at_most

_HEADERS: dict[tuple[int, int], Callable] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_LONGEST_HEADER = 10_000  # letters, as in NumPy
_KINDS = "biufU"  # booleans, integers, floats, texts


def read_array(path: str | os.PathLike, limit: int = limits.VECTOR_BYTES, cure: str = "check the file") -> np.ndarray:
    """Return the array in a .npy file; raise UnreadableError for anything else, and for arrays of objects."""
    with open_file(path, limit, cure) as file, explained(lambda: os.fspath(path), cure):
        return _parse(file.read())


def read_arrays(
    path: str | os.PathLike, limit: int = limits.VECTOR_BYTES, cure: str = "check the file"
) -> dict[str, np.ndarray]:
    """Return the arrays in a .npz file by name, of at most `limit` bytes in all; raises as `read_array` does."""
    with open_file(path, limit, cure) as file, explained(lambda: os.fspath(path), cure):
        return _parse_archive(file, limit)


def map_array(path: str | os.PathLike, cure: str = "check the file") -> np.ndarray:
    """Return the array in a .npy file of any size, mapped from disk; raises as `read_array` does."""
    with open_file(path, limits.ANY_BYTES, cure), explained(lambda: os.fspath(path), cure):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _parse_archive(file: BinaryIO, limit: int) -> dict[str, np.ndarray]:
    with open_zip(file) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > limit:
            raise ValueError(f"its arrays have more than {limit:,} bytes")
        arrays = {}
        for entry in entries:
            with archive.open(entry) as part:  # read to its end, where the checksum is compared
                arrays[entry.filename.removesuffix(".npy")] = _parse(read_at_most(part, entry.file_size))
        return arrays


def _parse(content: bytes) -> np.ndarray:
    """Return the array that the bytes of a .npy file describe; raise ValueError for other bytes."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"arrays of version {version} are not known")
    shape, is_fortran, dtype = _HEADERS[version](file, max_header_size=_LONGEST_HEADER)
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise ValueError(f"it holds {dtype}, no plain numbers")
    values = content[file.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"its shape {shape} does not match its {len(values):,} bytes")
    return np.frombuffer(bytearray(values), dtype).reshape(shape, order="F" if is_fortran else "C")
