"""Errors that reach a person: one sentence with the value, the bound and the cure."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the person at the command line can mend; its message is shown without a traceback."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not among `known`, with the nearest one that is.

    >>> str(unknown_name("preset", "papr256", ["auto", "paper256"]))
    "unknown preset 'papr256'; did you mean 'paper256'? Known: auto, paper256"
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return UserError(f"unknown {kind} '{name}'; {hint}Known: {', '.join(known)}")
