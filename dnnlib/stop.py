"""Requests to stop (SIGTERM, SIGINT), from the user or a cluster's scheduler."""

import signal
from types import FrameType
from typing import Any


class StopRequest:
    """Records SIGTERM and SIGINT within a `with` statement, so that a run can save before it ends."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous_handlers[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @property
    def name(self) -> str:
        """Name of the signal; `a signal` in a process that has not received it itself."""
        return "a signal" if self.signal is None else signal.Signals(self.signal).name

    def _record(self, number: int, _: FrameType | None) -> None:
        self.signal = number
