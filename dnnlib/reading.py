"""Reading files that others made: regular files of a bounded size only, and whatever is wrong becomes a UserError."""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from dnnlib import limits
from dnnlib.errors import UserError, one_line


class UnreadableError(UserError):
    """A file cannot be opened, or its content is not what it should be."""


def open_file(
    path: str | os.PathLike, limit: int, cure: str = "check the file", kind: type[UserError] = UnreadableError
) -> BinaryIO:
    """Return a regular file, open for reading.

    Pipes and devices are refused unopened: reading them could wait or go on for ever.

    Args:
        path: path of the file.
        limit: bytes that it may have, one of `dnnlib.limits`.
        cure: end of the sentence where the file is not readable.
        kind: class of the error.

    Raises an error of that kind where there is no such file.
    """
    try:
        _require_regular(os.stat(path), path, cure, kind)
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = os.fdopen(handle, "rb")
        status = os.fstat(handle)
        _require_regular(status, path, cure, kind)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise kind(f"cannot read {os.fspath(path)}: {one_line(error)}", cure) from error
    if status.st_size > limit:
        file.close()
        raise kind(f"{path} has {status.st_size:,} bytes, at most {limit:,} are read", "give a smaller file")
    return file


def read_bytes(path: str | os.PathLike, limit: int, cure: str = "check the file") -> bytes:
    """Return the content of a regular file of at most `limit` bytes; raises as `open_file` does."""
    with open_file(path, limit, cure) as file, explained(lambda: os.fspath(path), cure):
        return read_at_most(file, limit)


def read_text(path: str | os.PathLike, limit: int = limits.TEXT_BYTES, cure: str = "check the file") -> str:
    """Return a file of UTF-8, without a byte order mark; raises as `open_file` does, and for other encodings."""
    content = read_bytes(path, limit, cure)
    with explained(lambda: os.fspath(path), cure):
        return content.decode("utf-8-sig")


def read_json(path: str | os.PathLike, limit: int = limits.TEXT_BYTES, cure: str = "check the file") -> Any:
    """Return what a JSON file holds; raises as `open_file` does, and for anything but JSON."""
    text = read_text(path, limit, cure)
    with explained(lambda: os.fspath(path), cure):
        return parse_json(text)


def read_at_most(file: Any, limit: int) -> bytes:
    """Return the rest of an open file, or of an entry of an archive; raise ValueError for more than `limit` bytes."""
    content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it has more than {limit:,} bytes")
    return content


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return what JSON says, as `json.loads` does; raise ValueError for anything else, and for too deep or too much.

    So does an object with two entries of one name, of which one would be lost, unless an option keeps both.
    It is never more than some hundred times larger in memory than as text.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        if text.count("[") + text.count("{") > limits.JSON_LISTS:
            raise ValueError(f"it has more than {limits.JSON_LISTS:,} lists")
        return json.loads(text, **{"object_pairs_hook": _object, **options})
    except RecursionError:
        raise ValueError("its lists are nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these entries; raise ValueError where two have one name."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has two entries called {twice!r}")
    return content


@contextlib.contextmanager
def explained(
    what: Callable[[], str],
    cure: str,
    kind: type[UserError] = UnreadableError,
    reason: Callable[[Exception], str] = one_line,
) -> Iterator[None]:
    """Turn whatever a reader raises into a UserError: `WHAT cannot be read: REASON; CURE`.

    Damaged and hostile files make the readers of libraries raise nearly anything, so that no list of exceptions would
    be complete. UserErrors pass.

    Args:
        what: function that returns what is being read: called where it is wrong only.
        cure: what to do.
        kind: class of the error.
        reason: function that says in a few words what an exception means.
    """
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise kind(f"{what()} cannot be read: it needs more memory than there is", cure) from error
    except Exception as error:
        raise kind(f"{what()} cannot be read: {reason(error)}", cure) from error


def path_of_text(path: str | os.PathLike, handle: int) -> str:
    """Return the path of an open file for libraries that take text only: its name may hold bytes that are no UTF-8."""
    text = os.fspath(path)
    return text if is_text(text) else f"/proc/self/fd/{handle}"


def path_exists(path: str | os.PathLike) -> bool:
    """Return whether something is there; raise UnreadableError where that cannot be seen, as in a closed folder."""
    try:
        return Path(path).exists()
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{os.fspath(path)} cannot be reached: {one_line(error)}", "check the path") from error


def is_text(name: str) -> bool:
    """Return whether a name is UTF-8; Python stands for other bytes by letters that cannot be encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_regular(status: os.stat_result, path: str | os.PathLike, cure: str, kind: type[UserError]) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise kind(f"cannot read {path}: it is a folder", cure)
    if not stat.S_ISREG(status.st_mode):
        raise kind(f"cannot read {path}: it is no regular file", "copy what it gives into one")
