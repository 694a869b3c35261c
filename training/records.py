"""Records of a run in JSON lines: `stats.jsonl` and `metric-NAME.jsonl`."""

import json
import os
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.files import replace_file


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a line; raise UserError where that cannot be done."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; mend that, and run the same command") from error


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines that a run has written, those with a number of images seen; none where there is no file."""
    parsed = [_parse(line) for line in _lines(path)]
    return [record for record in parsed if record is not None]


def forget_moment(path: Path, images_seen: int) -> None:
    """Drop the lines of this moment."""
    lines = _lines(path)
    _rewrite(path, lines, [line for line in lines if _images_seen(line) != images_seen])


def forget_after(path: Path, limit: int) -> None:
    """Drop the lines of steps after `limit` images, and a last line that was cut off; all others stay as they are."""
    lines = _lines(path)
    kept = [line for line in lines if (seen := _images_seen(line)) is None or seen <= limit]
    if kept and not kept[-1].endswith(b"\n"):  # the run was stopped in the middle of the line
        kept[-1:] = [kept[-1] + b"\n"] if _parse(kept[-1]) is not None else []
    _rewrite(path, lines, kept)


def _images_seen(line: bytes) -> int | None:
    """Return when a line was written, in images; None for a line that no run has written."""
    record = _parse(line)
    return None if record is None else record["images_seen"]


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return what a run has written as a line; None for any other line."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_own = isinstance(record, dict) and type(record.get("images_seen")) is int
    return record if is_own else None


def _rewrite(path: Path, lines: list[bytes], kept: list[bytes]) -> None:
    if kept != lines:
        with replace_file(path) as temporary:
            temporary.write_bytes(b"".join(kept))


def _lines(path: str | os.PathLike) -> list[bytes]:
    try:
        return Path(path).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; move it away, or choose another --outdir") from error
