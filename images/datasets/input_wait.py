"""Input wait: the fraction of time in which a device is idle because the next batch is missing."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


class InputWait:
    """Measures the fraction of time spent waiting for the next item while the device is idle.

    A GPU executes what the host has launched; the time that the host waits meanwhile is not lost, and not counted.

    Args:
        device: device that works on the items.
        clock: function that returns the time in seconds.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.perf_counter):
        self.device = device
        self.clock = clock
        self.started = clock()
        self.waited = 0.0

    def restart(self) -> None:
        """Start a new measurement, after other work that took time."""
        self.started = self.clock()
        self.waited = 0.0

    @property
    def waited_fraction(self) -> float:
        """Waited part of the time since the last restart, from 0 to 1."""
        elapsed = self.clock() - self.started
        return self.waited / elapsed if elapsed > 0 else 0.0

    def measure(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; the time until the first one, in which workers start, is not counted."""
        items = iter(items)
        for item in items:
            self.restart()
            yield item
            break
        while True:
            launched, before = self._launched(), self.clock()
            try:
                item = next(items)
            except StopIteration:
                return
            if launched is None or launched.query():
                self.waited += self.clock() - before
            yield item

    def _launched(self) -> torch.cuda.Event | None:
        """Return an event at the end of the work launched so far; None on devices that run work at once."""
        return torch.cuda.current_stream(self.device).record_event() if self.device.type == "cuda" else None
