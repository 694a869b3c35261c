"""Errors shown to the user: one sentence with the value, its bound and what to do."""

import difflib
import errno
import os
from collections.abc import Iterable

ESCAPED = "backslashreplace"  # what becomes of bytes in the names of files that are no UTF-8, where they are written
LONGEST = 2000  # letters of a problem or of a cure; a damaged header can hold a million


class UserError(Exception):
    """An error that the user can correct: one sentence, what is wrong and what to do, shown without a traceback.

    It may quote what files hold, so it is shortened, and line breaks and control bytes for terminals are escaped.

    Args:
        problem: what is wrong; or the whole sentence.
        cure: what to do about it, the end of the sentence. Readers that several commands use may leave it to them.
    """

    def __init__(self, problem: str, cure: str = ""):
        self.problem = _shortened(printable(problem))
        self.cure = _shortened(printable(cure))
        super().__init__(f"{self.problem}; {self.cure}" if cure else self.problem)

    def with_cure(self, cure: str) -> "UserError":
        """Return an error of this kind about the same problem, with another cure."""
        return type(self)(self.problem, cure)


class InUseError(UserError):
    """Something belongs to another process for now."""


def printable(text: str) -> str:
    """Return text on one line, with what could command a terminal escaped: `\\n`, `\\x1b`, `\\u202e`, `\\udcff`."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, in the plural where it is not one.

    >>> counted(1, "photo"), counted(0, "photo"), counted(2, "entry", "entries")
    ('1 photo', '0 photos', '2 entries')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def one_line(error: BaseException) -> str:
    """Return what an error of Python or a library says, on one line; its kind where it says nothing."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _shortened(printable(" ".join(reason.split()))).rstrip(".") or type(error).__name__


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not among `known`, with the nearest one that is.

    >>> str(unknown_name("preset", "papr256", ["auto", "paper256"]))
    "unknown preset 'papr256'; did you mean 'paper256'? Known: auto, paper256"
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{nearest[0]}'? Known" if nearest else "known"
    return UserError(f"unknown {kind} '{name}'; {hint}: {', '.join(known)}")


def as_user_error(error: Exception) -> UserError | None:
    """Return the error to show instead of a traceback; None for what only a mistake of this program can raise.

    That are UserErrors, full disks, files that the system does not hand out, and too little memory.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{error.filename or 'a file'} cannot be written, the disk is full; free some space and go on")
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return UserError(f"{_text(error.filename)} cannot be used: {error.strerror}", "check that path")
    if isinstance(error, MemoryError):
        return UserError("this machine has too little memory for that", "take less at once, or a machine with more")
    return None


def _text(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, bytes) else str(path)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _shortened(text: str) -> str:
    """Return text without its middle where it is longer than any sentence should be."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
