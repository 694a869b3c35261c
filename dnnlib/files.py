"""Atomic writing of files, checksums (SHA-256) and output folders."""

import contextlib
import errno
import functools
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dnnlib.errors import ESCAPED, UserError

NAME_KEPT = 50  # letters of a name that a temporary one repeats; with all, a long one would be too long


@contextlib.contextmanager
def replace_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success that file replaces `path` in one step.

    On any failure (an exception, a full disk, a killed process) the previous file stays unchanged.
    Raises UserError when the file system refuses.
    """
    path = Path(path)
    temporary = None
    try:
        if path.is_dir():  # which would be found out when all is written
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = _new_file_beside(path)
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {_reason(error)}; what was there before is untouched") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def real_path(path: str | os.PathLike) -> Path:
    """Return the absolute path without links; a link that leads to itself stays, where `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def write_text(path: str | os.PathLike, text: str) -> None:
    """Replace the content of the file at `path` by `text` in one step, as UTF-8; other bytes in names are escaped."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ESCAPED)


def sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file as hex digits; raise UserError when it cannot be read.

    It is computed again only when size, time or inode of the file have changed.
    """
    try:
        status = os.stat(path)
        return _read_sha256(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check the file") from error


def prepare_directory(path: str | os.PathLike) -> Path:
    """Create a directory if it is missing; raise UserError unless files can be written there."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror}; choose another --outdir") from error


@functools.lru_cache(maxsize=256)
def _read_sha256(path: str, size: int, mtime: int, inode: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _new_file_beside(path: Path) -> Path:
    """Make an empty file with a hidden name of its own, and with the rights that the system gives to new files."""
    temporary = path.with_name(f".{path.name[:NAME_KEPT]}.{secrets.token_hex(4)}.part")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space and run the same command again"
    if error.errno in (errno.EDQUOT, errno.EFBIG):
        return f"{error.strerror}; ask for a larger quota or limit and run the same command again"
    return error.strerror or str(error)
