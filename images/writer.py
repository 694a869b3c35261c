"""PNG files written beside the computation."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from images.sheets import save_png


class ImageWriter:
    """Writes images in a few threads; use it in a `with` statement, at whose end everything is on the disk.

    An error of a thread is raised by a later call, or at the end.

    Args:
        threads: that compress and write.
        pending: images that may wait; beyond, `write` waits itself, so that memory stays bounded.
    """

    def __init__(self, threads: int | None = None, pending: int = 128):
        self.pool = ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1))
        self.pending, self.futures = pending, deque()

    def write(self, path: str | os.PathLike, image: np.ndarray) -> None:
        """Write a uint8 image `[H, W, 1 or 3]` soon."""
        while len(self.futures) >= self.pending:
            self.futures.popleft().result()
        self.futures.append(self.pool.submit(save_png, path, image))

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(self, error_type, *_) -> None:
        self.pool.shutdown(cancel_futures=error_type is not None)
        if error_type is None:
            for future in self.futures:
                future.result()
