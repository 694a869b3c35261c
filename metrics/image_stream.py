"""The interface of images that are measured: batches by number, whether generated or read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class ImageStream:
    """Images 0..count-1 in batches that are the same for any number of processes.

    Attributes:
        name: name of the stream, for progress bars and messages.
        count: number of images.
        batch: number of images in each batch; the last one may have fewer.
        batches: function `(first, step)` to the batches number first, first + step, ..., uint8 `[N, C, H, W]`.
        identity: function to all that the images depend on, as JSON; part of results, and the key of cached features.
    """

    name: str
    count: int
    batch: int
    batches: Callable[[int, int], Iterator[Tensor]]
    identity: Callable[[], dict[str, Any]]

    @property
    def num_batches(self) -> int:
        """Number of batches."""
        return -(-self.count // self.batch)
