"""Containers: files by their names, wherever they lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol


class Container(Protocol):
    """Files by their names, with `/`, below a folder or in an archive.

    It may be pickled and used after a fork: each process opens the archive itself.

    Attributes:
        path: path of the folder or archive.
        names: names of all files.
        loops: links that lead back to a folder above them.
        is_folder: whether it is a folder: files are then sought for by opening them, and have no marks.
        has_samples: whether files with one key (the name up to the first dot) are one sample, as in WebDataset.
    """

    path: Path
    names: Sequence[str]
    loops: Sequence[str]
    is_folder: bool
    has_samples: bool

    def open(self, name: str, limit: int) -> IO[bytes]:
        """Return a file, open for reading; raise an error of any kind for one of more than `limit` bytes."""
        ...

    def mark(self, name: str) -> str:
        """Return what changes with the content of a file, which is found without reading all of it."""
        ...

    def check(self, used: set[str]) -> None:
        """Raise UserError where a damaged name hides an image; `used` are the files that are read anyway."""
        ...

    def close(self) -> None:
        """Close the archive until it is needed again."""
        ...
