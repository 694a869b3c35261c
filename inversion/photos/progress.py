"""Progress of a job on photos: a line a photo, with a bar below on a terminal."""

import sys
from types import TracebackType

import tqdm

from torch_utils.processes.progress import says_lines
from torch_utils.processes.sharing import Share


class Progress:
    """Tells how far a job is, on standard error: the lines of several processes are those of all their photos.

    Args:
        job: name of the command.
        total: number of photos.
        done: number of those that were done before.
        share: part of this process.
    """

    def __init__(self, job: str, total: int, done: int, share: Share) -> None:
        self.total = total
        self.done = done
        self.share = share
        self.bar: tqdm.tqdm | None = None
        if share.size == 1 and not says_lines():
            self.bar = tqdm.tqdm(total=total, initial=done, desc=job, unit="photo")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, text: str) -> None:
        """Count a photo, and say what has become of it."""
        number = self.done + self.share.count("photos")
        if self.bar is not None:
            self.bar.update()
            self.bar.write(f"[{number}/{self.total}] {text}", file=sys.stderr)
        else:
            print(f"[{number}/{self.total}] {text}", file=sys.stderr, flush=True)
