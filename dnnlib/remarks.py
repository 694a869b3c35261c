"""Remarks: warnings that a command gives once, however many processes it has and however often it meets their cause."""

import logging
import os
from collections.abc import Collection

logger = logging.getLogger(__name__)

_told: set[str] = set()
_is_silent = False


def remark(text: str) -> None:
    """Warn, unless this command has said the same; of several processes of a command the first one speaks."""
    is_first = os.environ.get("RANK", "0") == "0"  # torchrun's number of this process
    if is_first and not _is_silent and text not in _told:
        _told.add(text)
        logger.warning("%s", text)


def told() -> frozenset[str]:
    """Return the remarks of this process so far, for `go_on`."""
    return frozenset(_told)


def go_on(before: Collection[str] = (), is_silent: bool = False) -> None:
    """Take over, in a new process of a command, what the one that has started it has said; or leave all to that one."""
    global _is_silent
    _told.update(before)
    _is_silent = is_silent


def forget() -> None:
    """Forget what was said, as at the start of a command."""
    global _is_silent
    _told.clear()
    _is_silent = False
