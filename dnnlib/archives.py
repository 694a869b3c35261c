"""Zip archives: opened only where the directory at their end, which has no checksum, lists all that it says."""

import os
import zipfile
from typing import BinaryIO

_END = 22  # bytes of the record at the end, without the archive's comment
_MANY = 0xFFFF  # the largest number of files that it can state; archives of more have another record


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """Return an archive, open for reading, each of whose names is that of one file or folder.

    A damaged length in the directory can hide files, or give one to another as its comment, without an error.

    Raises ValueError for such a directory, and what `zipfile` raises.
    """
    archive = zipfile.ZipFile(file)
    file.seek(-(_END + len(archive.comment)), os.SEEK_END)
    stated = int.from_bytes(file.read(_END)[10:12], "little")
    names = archive.namelist()
    if stated not in (len(names) & _MANY, _MANY):
        raise ValueError(f"its directory is damaged: it lists {len(names)} files and says {stated}")
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"it holds {twice} more than once")
    return archive
