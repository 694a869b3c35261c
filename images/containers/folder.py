"""Folders as containers."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from dnnlib.reading import open_file
from images.decoding import UnreadableImageError
from images.listing import files_below

END = 1 << 14  # bytes at either end of a file that count; those between would take as long as an epoch of reading


class FolderContainer:
    """The files below a folder, through links too; see `Container`."""

    is_folder = True
    has_samples = False

    def __init__(self, path: Path, cure: str) -> None:
        self.path = path
        self.cure = cure
        names, loops = files_below(path)
        self.names: Sequence[str] = names
        self.loops: Sequence[str] = loops

    def open(self, name: str, limit: int) -> IO[bytes]:
        """Return a file, open for reading; raise UnreadableImageError where that is impossible."""
        return open_file(self.path / name, limit, self.cure, UnreadableImageError)

    def mark(self, name: str) -> str:
        """Return the size of a file, and a digest of both its ends."""
        with open(self.path / name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            ends = file.read(END)
            if size > END:
                file.seek(max(size - END, END))
                ends += file.read(END)
        return f"{size} {hashlib.sha256(ends).hexdigest()}"

    def check(self, used: set[str]) -> None:
        """Do nothing: the system keeps the names."""

    def close(self) -> None:
        """Do nothing: files are opened one by one."""
