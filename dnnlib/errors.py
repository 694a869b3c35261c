"""Errors shown to the user: one sentence with the value, its bound and what to do."""

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can correct; its message is shown without a traceback."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not among `known`, with the nearest one that is.

    >>> str(unknown_name("preset", "papr256", ["auto", "paper256"]))
    "unknown preset 'papr256'; did you mean 'paper256'? Known: auto, paper256"
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return UserError(f"unknown {kind} '{name}'; {hint}Known: {', '.join(known)}")


def as_user_error(error: Exception) -> UserError | None:
    """Return the error to show instead of a traceback: UserErrors and full disks; None for all other errors."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{error.filename or 'a file'} cannot be written, the disk is full; free some space and go on")
    return None
