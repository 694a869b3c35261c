"""Zip archives as containers."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from dnnlib import limits
from dnnlib.archives import open_zip
from dnnlib.errors import one_line
from dnnlib.reading import explained, open_file
from images.listing import zip_names


class ZipContainer:
    """The files in a zip archive; see `Container`.

    A handle from before a fork, whose position the processes would share, is never read from.
    """

    is_folder = False
    has_samples = False

    def __init__(self, path: Path, cure: str) -> None:
        self.path = path
        self.cure = cure
        self.loops: Sequence[str] = ()
        self._archive: zipfile.ZipFile | None = None
        self._process = 0
        self._entries = zip_names(self._zip().namelist(), path)  # stored names by names
        self.names: Sequence[str] = list(self._entries)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None, "_process": 0}

    def open(self, name: str, limit: int) -> IO[bytes]:
        """Return a file, open for reading; raise what `zipfile` raises, and ValueError for one that is too large."""
        entry = self._entry(name)
        if entry.file_size > limit:
            raise ValueError(f"it has {entry.file_size:,} bytes when unpacked, at most {limit:,} are read")
        return self._zip().open(entry)

    def mark(self, name: str) -> str:
        """Return CRC and size of a file, by the directory of the archive."""
        entry = self._entry(name)
        return f"{entry.CRC:08x} {entry.file_size}"

    def check(self, used: set[str]) -> None:
        """Raise UserError where a damaged name in the directory hides an image.

        What is called no image may be one, so those files are opened, which compares their names with those beside
        their contents; images are opened when they are read.
        """
        others = set(self._zip().namelist()) - {self._entries[name] for name in used}
        with explained(lambda: str(self.path), self.cure):
            for name in sorted(others):
                self._zip().open(name).close()

    def close(self) -> None:
        """Close the archive, where this process has opened it."""
        if self._archive is not None and self._process == os.getpid():
            self._archive.close()
        self._archive = None

    def _entry(self, name: str) -> zipfile.ZipInfo:
        return self._zip().getinfo(self._entries[name])

    def _zip(self) -> zipfile.ZipFile:
        """Return the archive, opened by this process."""
        if self._archive is None or self._process != os.getpid():
            with explained(lambda: str(self.path), self.cure, reason=_no_zip):
                self._archive = open_zip(open_file(self.path, limits.ANY_BYTES, self.cure))
                self._process = os.getpid()
        assert self._archive is not None, "opened above"
        return self._archive


def _no_zip(error: Exception) -> str:
    if isinstance(error, zipfile.BadZipFile):
        return "it is neither a folder nor a whole zip archive, nor a tar (NAME.tar)"
    return one_line(error)
