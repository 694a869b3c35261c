"""Progress of a command's work: a bar on a terminal, else a line at least each 30 seconds."""

import sys
import time

import tqdm

from torch_utils.processes.sharing import Share

INTERVAL = 30.0  # seconds between two lines


def says_lines() -> bool:
    """Return whether progress is told in lines, as where no person looks on: in files, and under schedulers."""
    return not sys.stderr.isatty()


class StepLines:
    """Lines about what is done of something, at least each INTERVAL seconds that it takes."""

    def __init__(self) -> None:
        self.told = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take note that so much is done."""
        if time.monotonic() - self.told >= INTERVAL:
            self.told = time.monotonic()
            print(f"  {what}: {done}{f' of {total}' if total else ''}", file=sys.stderr, flush=True)


class ProgressBar:
    """A bar of this process's work, where it works alone on a terminal; else lines about that of all processes.

    Attributes:
        n: number of things that this process has done.

    Args:
        total: number of things to do, by all processes; 0 where nobody knows.
        unit: what they are.
        share: part of this process.
    """

    def __init__(self, total: int, unit: str, share: Share) -> None:
        self.n = 0
        self.total = total
        self.unit = unit
        self.share = share
        self.lines = StepLines()
        is_shown = share.size == 1 and not says_lines()
        self.bar = tqdm.tqdm(total=total or None, unit=unit, dynamic_ncols=True) if is_shown else None

    def update(self, amount: int) -> None:
        """Take note of some things that are done."""
        self.n += amount
        if self.bar is not None:
            self.bar.update(amount)
            return
        done = self.share.count(self.unit, amount)
        self.lines(self.unit, done, self.total)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()
