"""Rows of features that may be too many for memory: checks, and iteration over blocks of float64."""

from collections.abc import Iterator

import numpy as np

from dnnlib.errors import UserError, counted

CHUNK = 4096  # rows in memory at a time: 64 MiB of float64 at 2048 features


def blocks(rows: np.ndarray, chunk: int = CHUNK) -> Iterator[np.ndarray]:
    """Yield the rows of `[N, D]`, in memory or on disk, as float64 `[<= chunk, D]` in their order."""
    assert chunk >= 1, f"chunk {chunk} is not positive"
    for start in range(0, len(rows), chunk):
        yield np.asarray(rows[start : start + chunk], np.float64)


def check_rows(rows: np.ndarray, minimum: int, purpose: str) -> None:
    """Raise UserError for fewer than `minimum` rows and for values that are not finite.

    Args:
        rows: features `[N, ...]`, one row an image.
        minimum: smallest number of rows that the purpose allows.
        purpose: subject of the message, such as "the Fréchet distance".
    """
    if len(rows) < minimum:
        raise UserError(
            f"{purpose} needs at least {counted(minimum, 'image')}, got {len(rows)}; add images or leave it out"
        )
    for start in range(0, len(rows), CHUNK):
        finite = np.isfinite(rows[start : start + CHUNK])
        if not finite.all():
            index = start + int(np.argwhere(~finite)[0, 0])
            raise UserError(
                f"{purpose} needs finite numbers, those of image {index} are not; "
                "the images or the weights are damaged, so replace them"
            )
