"""Read pickles and files of torch.save as data; nothing in them is executed. See `torch_utils.untrusted.pickles`."""

import functools
import io
import mmap
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from dnnlib.errors import UserError
from torch_utils.untrusted.opcodes import ReadableBytes
from torch_utils.untrusted.pickles import Budget, Names, read_pickle
from torch_utils.untrusted.tensors import STORAGE_DTYPES, Storage

LARGEST_FILE = 2 << 30  # bytes
MOST_PARTS = 20_000
_SLACK = 1 << 20  # bytes that the content may take beyond the size of the file
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # first numbers of the files that torch.save wrote before its zips
_LEGACY_START = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little")


@dataclass(frozen=True, eq=False, repr=False)
class InertFile:
    """A file read as data.

    Attributes:
        content: object in the file, see `read_pickle`.
        size: size of the file in bytes.
    """

    content: Any
    size: int


def read_inert(path: str | os.PathLike, names: Names) -> InertFile:
    """Return the content of a pickle or of a file of torch.save, which their first bytes tell apart.

    Args:
        path: file to read.
        names: names that it may contain beside containers and tensors, see `read_pickle`.

    Raises UserError, a sentence without its subject, for a file that is missing, damaged, of another kind, larger than
    networks are, or that contains other names.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            raise UserError("is no regular file; copy what it gives into one")  # reading a pipe would wait for ever
        with open(path, "rb") as file:
            size = os.path.getsize(path)
            if not 0 < size <= LARGEST_FILE:
                raise UserError(f"has {size:,} bytes, no published network has; it is not opened")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return InertFile(_read(file, content, names), size)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}; check the path") from error


def _read(file: BinaryIO, content: mmap.mmap, names: Names) -> Any:
    budget = Budget(2 * len(content) + _SLACK)  # protocol 2 stores bytes as text: one copy is bytes, one a storage
    start = content[: len(_LEGACY_START)]
    if start.startswith(b"PK\x03\x04"):
        return _read_zip(file, len(content), names, budget)
    if start == _LEGACY_START:
        return _read_legacy(content, names, budget)
    if start[:1] == b"\x80":
        inner = {("torch.storage", "_load_from_bytes"): functools.partial(_storage_from_bytes, budget=budget)}
        return read_pickle(content, {**names, **inner}, budget)
    raise UserError("is neither a pickle nor a file of torch.save; give the file as it was published")


class _Storages:
    """The storages of a file of torch.save, by key.

    Args:
        budget: limit of the memory.
        fill: function that reads the elements of a storage, given its key; None where they are read later.
    """

    def __init__(self, budget: Budget, fill: Callable[[str, torch.Tensor], None] | None = None):
        self.budget = budget
        self.fill = fill
        self.by_key: dict[str, Storage] = {}

    def load(self, persistent_id: tuple) -> Storage:
        """Return the storage that a persistent id names."""
        kind, dtype, key, _, count, *_ = persistent_id
        if kind != "storage" or not isinstance(key, str) or type(count) is not int or count < 0:
            raise ValueError("no storage")
        if key not in self.by_key:
            dtype = dtype.make()
            self.budget.spend(count * dtype.itemsize)
            storage = Storage(torch.empty(count, dtype=dtype))
            if self.fill is not None:
                self.fill(key, storage.values)
            self.by_key[key] = storage
        return self.by_key[key]


_STORAGE_NAMES = {("torch", name): functools.partial(lambda dtype: dtype, d) for name, d in STORAGE_DTYPES.items()}


def _bytes_of(values: torch.Tensor) -> memoryview:
    """Return the memory of `values [count]` as a writable array of bytes."""
    return values.view(torch.uint8).numpy().data


def _read_zip(file: BinaryIO, size: int, names: Names, budget: Budget) -> Any:
    """Return the object in a file of today's torch.save, a zip of `size` bytes."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = _parts(archive, size)
            if parts.get("byteorder") and archive.read(parts["byteorder"]) != b"little":
                raise UserError("was written on a machine of another byte order; save it on this one")

            def fill(key: str, values: torch.Tensor) -> None:
                info = parts[f"data/{key}"]
                if info.file_size != values.nbytes:
                    raise ValueError(f"storage {key} has not the length that it says")
                if values.nbytes:
                    _bytes_of(values)[:] = archive.read(info)

            storages = _Storages(budget, fill)
            return read_pickle(archive.read(parts["data.pkl"]), {**names, **_STORAGE_NAMES}, budget, storages.load)
    except UserError:
        raise
    except Exception as error:  # damaged archives raise nearly anything
        raise UserError("is damaged or no file of torch.save", "copy or download it again") from error


def _parts(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the parts of the archive by their names within its one folder."""
    infos = archive.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise UserError("has compressed parts, as torch.save never writes them; it is not opened")
    if len(infos) > MOST_PARTS or sum(max(info.file_size, info.compress_size) for info in infos) > size:
        raise UserError("expands to more than it holds; it is not opened")
    return {info.filename.partition("/")[2]: info for info in infos}


def _read_legacy(content: ReadableBytes, names: Names, budget: Budget) -> Any:
    """Return the object in a file of the older torch.save, which begins at the position of `content`.

    Its five pickles are a magic number, a version, facts about the machine, the object, and the order of its storages,
    whose elements follow.
    """
    plain = functools.partial(read_pickle, content, {}, budget)
    magic, protocol, machine = plain(), plain(), plain()
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(machine, dict) or not machine.get("little_endian"):
        raise UserError("was written by another torch.save than is known; save it again with a recent torch")
    storages = _Storages(budget)
    result = read_pickle(content, {**names, **_STORAGE_NAMES}, budget, storages.load)
    keys = plain()
    if not isinstance(keys, list) or {type(key) for key in keys} - {str} or sorted(keys) != sorted(storages.by_key):
        raise UserError("is damaged", "copy or download it again")
    for key in keys:
        _fill_legacy(content, storages.by_key[key].values)
    return result


def _fill_legacy(content: ReadableBytes, values: torch.Tensor) -> None:
    count = content.read(8)
    raw = content.read(values.nbytes)
    if len(count) != 8 or struct.unpack("<q", count)[0] != len(values) or len(raw) != values.nbytes:
        raise UserError("is truncated", "copy or download it again")
    if values.nbytes:
        _bytes_of(values)[:] = raw


class _Reader(io.BytesIO):
    """Bytes with the interface of a mapped file."""

    def __len__(self) -> int:
        return self.getbuffer().nbytes


def _storage_from_bytes(content: bytes, budget: Budget) -> Storage:
    """Return the storage in a file of torch.save that a pickle contains as bytes; raise UserError for other files."""
    if not isinstance(content, bytes) or not content.startswith(_LEGACY_START):
        raise UserError("holds a file that is no storage of torch; it is not opened")
    storage = _read_legacy(_Reader(content), {}, budget)
    if not isinstance(storage, Storage):
        raise UserError("holds a file that is no storage of torch; it is not opened")
    return storage
