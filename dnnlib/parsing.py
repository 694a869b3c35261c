"""Parsers of typed values: lists of integers, vectors, existing paths."""

import os
import re
from pathlib import Path

from dnnlib.errors import UserError, counted
from dnnlib.reading import path_exists

MAX_INTEGERS = 10_000_000


def integers(text: str) -> list[int]:
    """Parse `0-7,12` or `0-7 12` into [0, 1, ..., 7, 12]; order and repetitions are kept.

    Raises UserError for anything else, for a range that runs backwards, and for more than ten million numbers.
    """
    numbers: list[int] = []
    for part in re.split(r"\s*,\s*|\s+", re.sub(r"(?<=[0-9])\s*-\s*(?=[0-9])", "-", text.strip())):
        match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", part)
        if not match:
            part, text = part[:40], text[:200]
            raise UserError(f"'{part}' in '{text}' is neither a number nor a range; write for example 0-7,12")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"the range '{part}' runs backwards; write {last}-{first}")
        if len(numbers) + last - first >= MAX_INTEGERS:
            raise UserError(f"'{text[:200]}' names more than {MAX_INTEGERS} numbers; split it into several commands")
        numbers.extend(range(first, last + 1))
    return numbers


def floats(text: str, count: int, what: str) -> list[float]:
    """Parse `count` numbers separated by commas or white space; `what` names them in errors."""
    try:
        numbers = [float(part) for part in re.split(r"[,\s]+", text.strip("[]() \n\t"))]
    except ValueError:
        raise UserError(
            f"{what} '{text}' is not a list of numbers; write {counted(count, 'number')} with commas"
        ) from None
    if len(numbers) != count:
        raise UserError(f"{what} has {counted(len(numbers), 'number')}, needs {count}")
    return numbers


def existing(path: str | os.PathLike, what: str) -> Path:
    """Return `path` as a Path; raise UserError, in which `what` names it, when it does not exist."""
    path = Path(path)
    if not path_exists(path):
        raise UserError(f"{what} {path} does not exist; check the path")
    return path
