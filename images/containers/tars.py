"""Tar archives as containers, such as the shards of WebDataset: read by an index, so that any image is at hand.

Why not the package `webdataset`: it reads tars as streams, front to back, which cannot begin in the middle: a run that
is continued would have to read again all that it has seen. Here one pass over the headers, which skips what lies
between them, tells where each file begins. The headers are understood by Python's tarfile.
"""

import io
import os
import tarfile
import threading
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from dnnlib import limits
from dnnlib.reading import explained, open_file
from images.listing import zip_names

BLOCK = tarfile.BLOCKSIZE  # bytes that headers have, and that contents are filled up to
HEAD = 3584  # bytes of a file that are read together with its header
NAME_BYTES = 64 * limits.KIB  # most bytes of a record that holds a long name
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
LONG_NAME, PAX, PAX_GLOBAL = tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE
UNUSED = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


class Entry(NamedTuple):
    """A file in a tar: its name, where its content lies, and a checksum of its first and last bytes."""

    name: str
    start: int
    size: int
    checksum: int


class TarContainer:
    """The files in a tar without compression; see `Container`. Links, devices and folders in it are passed over."""

    is_folder = False
    has_samples = True

    def __init__(self, path: Path, cure: str) -> None:
        self.path = path
        self.cure = cure
        self.loops: Sequence[str] = ()
        self._file: BinaryIO | None = None
        self._process = 0
        starts, sizes, checksums = array("q"), array("q"), array("I")
        stored = []
        with explained(lambda: str(path), cure):
            for entry in read_index(self._opened()):
                stored.append(entry.name)
                starts.append(entry.start)
                sizes.append(entry.size)
                checksums.append(entry.checksum)
            numbers = {name: number for number, name in enumerate(stored)}  # the last one of several equal names
            if len(numbers) < len(stored):
                twice = next(name for number, name in enumerate(stored) if numbers[name] != number)
                raise ValueError(f"it holds {twice} more than once")
        self._number = {name: numbers[other] for name, other in zip_names(stored, path).items()}
        self._starts = starts
        self._sizes = sizes
        self._checksums = checksums
        self.names: Sequence[str] = list(self._number)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": 0}

    def open(self, name: str, limit: int) -> IO[bytes]:
        """Return a file, open for reading; raise ValueError for one that is too large."""
        number = self._number[name]
        size = self._sizes[number]
        if size > limit:
            raise ValueError(f"it has {size:,} bytes, at most {limit:,} are read")
        return io.BufferedReader(_Window(self._opened(), self._starts[number], size))

    def mark(self, name: str) -> str:
        """Return the size of a file, and a checksum of its first and last bytes."""
        number = self._number[name]
        return f"{self._sizes[number]} {self._checksums[number]:08x}"

    def check(self, used: set[str]) -> None:
        """Do nothing: each header has a checksum of its own."""

    def close(self) -> None:
        """Close the archive, where this process has opened it."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def _opened(self) -> BinaryIO:
        """Return the archive, opened by this process."""
        if self._file is None or self._process != os.getpid():
            self._file = open_file(self.path, limits.ANY_BYTES, self.cure)
            self._process = os.getpid()
        return self._file


def read_index(file: BinaryIO) -> Iterator[Entry]:
    """Yield the files in a tar, in its order.

    Raises ValueError, which names the file before the damage, for a header that is none, for a file that goes beyond
    the end of the archive, and for an archive without the mark at its end, which is cut off.
    """
    end = os.fstat(file.fileno()).st_size
    position, last, long_name = 0, "its beginning", ""
    pending: tuple[str, int, int, int] | None = None  # the file whose last bytes are read with the next header
    while True:
        # One read: the last bytes of the file before, the header, and the first bytes of the file after it.
        file.seek(max(0, position - BLOCK))
        data = file.read(2 * BLOCK + HEAD)
        before, block = (data[:BLOCK], data[BLOCK:]) if position else (b"", data)
        if pending is not None:
            name, start, size, checksum = pending
            yield Entry(name, start, size, zlib.crc32(before, checksum))
        header = _header(block[:BLOCK], last)
        if header is None:
            return
        size = header.size if header.type in (*PLAIN, LONG_NAME, PAX, PAX_GLOBAL) else 0  # links have no content
        start, position = position + BLOCK, position + BLOCK + -(-size // BLOCK) * BLOCK
        if start + size > end:
            raise ValueError(
                f"{long_name or header.name} is cut off: {end - start:,} of {header.size:,} bytes are there"
            )
        pending = None
        if header.type in (LONG_NAME, PAX, PAX_GLOBAL):
            if header.size > NAME_BYTES:
                raise ValueError(f"the name after {last} has {header.size:,} bytes, at most {NAME_BYTES:,} are read")
            file.seek(start)
            long_name = _long_name(header.type, file.read(header.size)) or long_name
            continue
        name, long_name = long_name or header.name, ""
        if header.type in PLAIN and not name.endswith("/"):
            pending = name, start, header.size, zlib.crc32(block[BLOCK : BLOCK + min(header.size, HEAD)])
        elif header.type not in (*PLAIN, *UNUSED):
            raise ValueError(f"{name} is of a kind that is not read ({header.type!r}); pack it with tar --format=ustar")
        last = name


def _header(block: bytes, last: str) -> tarfile.TarInfo | None:
    """Return a header; None at the mark of the end."""
    if len(block) < BLOCK:
        raise ValueError(f"it is cut off after {last}")
    if not any(block):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        packed = [name for magic, name in COMPRESSED.items() if block.startswith(magic)]
        if packed and last == "its beginning":
            raise ValueError(f"it is compressed by {packed[0]}; unpack it to a plain tar") from error
        raise ValueError(f"the header after {last} is damaged") from error
    if header.size < 0:
        raise ValueError(f"the header after {last} is damaged")
    return header


def _long_name(kind: bytes, content: bytes) -> str:
    """Return the name in a record of GNU tar or of POSIX (pax); "" where it holds none.

    Raises ValueError for a pax record of a sparse file or a size, which headers would need.
    """
    if kind == LONG_NAME:
        return content.rstrip(b"\0").decode("utf-8", "surrogateescape")
    name = ""
    while content:
        length = int(content.split(b" ", 1)[0])
        record, content = content[:length], content[length:]
        key, _, value = record.partition(b" ")[2].rstrip(b"\n").partition(b"=")
        if length <= 0 or key == b"size" or key.startswith(b"GNU.sparse"):
            raise ValueError("it has sparse files, or files of more than 8 GiB, which are not read")
        if key == b"path" and kind == PAX:
            name = value.decode("utf-8", "surrogateescape")
    return name


class _Window(io.RawIOBase):
    """A part of a file, as a file; several may be read at once."""

    lock = threading.Lock()

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self.file = file
        self.start = start
        self.size = size
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = max(0, offset + (0, self.position, self.size)[whence])
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self.size - self.position))
        with self.lock:
            self.file.seek(self.start + self.position)
            data = self.file.read(count)
        if len(data) < count:
            raise ValueError("the archive has become shorter")
        buffer[:count] = data
        self.position += count
        return count
