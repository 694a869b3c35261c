"""Requests to stop, from a person or a cluster's scheduler."""

import signal


class StopRequest:
    """Notes SIGTERM and SIGINT, so that whoever is at work can save before ending."""

    def __init__(self):
        self.signal: int | None = None
        self.previous = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self.previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    @property
    def name(self) -> str:
        """The signal's name; in another process than the one that got it, just that it was one."""
        return "a signal" if self.signal is None else signal.Signals(self.signal).name

    def _note(self, number, _):
        self.signal = number
