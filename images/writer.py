"""ImageWriter: PNG files of generated images, written in background threads."""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from dnnlib.running.processors import usable_processors
from images.origin import GENERATED
from images.sheets import save_png


class ImageWriter:
    """Writes generated images in a few threads.

    Use it in a `with` statement, which ends when all images are on the disk.

    An error of a thread is raised by a later call, or at the end.

    Args:
        threads: number of threads; by default one a core, at most four.
        pending: number of images that may wait; when it is reached, `write` waits, so that memory stays bounded.
    """

    def __init__(self, threads: int | None = None, pending: int = 128):
        self.pool = ThreadPoolExecutor(threads or min(4, usable_processors()))
        self.pending = pending
        self.futures: deque[Future[None]] = deque()

    def write(self, path: str | os.PathLike, image: np.ndarray) -> None:
        """Queue a uint8 image `[H, W, 1 or 3]` for writing."""
        while len(self.futures) >= self.pending:
            self.futures.popleft().result()
        self.futures.append(self.pool.submit(save_png, path, image, GENERATED))

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.pool.shutdown(cancel_futures=error_type is not None)
        if error_type is None:
            for future in self.futures:
                future.result()
