"""How long a device has nothing to do because images are missing."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


class Waiting:
    """Measures how much of the time is spent waiting for the next item, and the device idle.

    A GPU works off what the host has launched; a host that waits meanwhile costs nothing and is not counted.

    Args:
        device: that works on the items.
        clock: seconds.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.perf_counter):
        self.device, self.clock = device, clock
        self.restart()

    def restart(self) -> None:
        """Begin anew, after something else that took time."""
        self.started, self.waited = self.clock(), 0.0

    @property
    def share(self) -> float:
        """Of the time since the last restart, from 0 to 1."""
        elapsed = self.clock() - self.started
        return self.waited / elapsed if elapsed > 0 else 0.0

    def measured(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; the time until the first one, in which workers start, does not count."""
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
        """Return the end of what has been launched so far; None where launching is doing."""
        return torch.cuda.current_stream(self.device).record_event() if self.device.type == "cuda" else None
