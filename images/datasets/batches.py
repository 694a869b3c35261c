"""The endless, reproducible stream of training batches."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from images.datasets.dataset import ImageDataset
from images.datasets.order import round_order
from images.datasets.workers import BatchLoader
from torch_utils.purposes import FOR_DEGRADATION

if TYPE_CHECKING:  # OpenCV is needed by those alone who degrade
    from degradations.batched.tasks import ImagePlan


@dataclass(frozen=True)
class Batch:
    """A batch of training images.

    Attributes:
        images: sharp images, uint8 `[N, C, H, W]`.
        degraded: the same images degraded, or None.
        labels: labels, float32 `[N, label_dim]`.
        plans: where they are yet to be degraded, by `degradations.batched`: the plan of each image; or None.
    """

    images: torch.Tensor
    degraded: torch.Tensor | None
    labels: torch.Tensor
    plans: "Sequence[ImagePlan] | None" = None

    def tensors(self) -> list[torch.Tensor]:
        """Return the tensors that are not None."""
        return [tensor for tensor in (self.images, self.degraded, self.labels) if tensor is not None]

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to a device; from pinned memory, the host does not wait for the copy."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Copy the batch to page-locked memory."""
        return self._with_tensors(torch.Tensor.pin_memory)

    def _with_tensors(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        """Return the batch with what a function makes of each tensor."""
        degraded = None if self.degraded is None else function(self.degraded)
        return dataclasses.replace(self, images=function(self.images), degraded=degraded, labels=function(self.labels))


class TrainingBatches:
    """Endless batches whose content depends only on the seed and the image counter.

    Image number n of a run is `dataset[p[n % len]]`, where p is the order of round `n // len`, and its
    degradation is seeded by n. So the batches are the same for any number of workers, a run resumed at counter
    `start` gets the batches that it would have got uninterrupted, and processes that divide the rows get together the
    batches of a single process. Every `iter()` begins at `start`.

    Args:
        dataset: images to read.
        batch_size: number of images in the whole batch, over all processes.
        rows: rows of each batch that this process reads.
        seed: seed of order and degradations.
        start: image counter of the first batch.
        workers: number of processes that read and degrade; 0 does it in this one.
        pin_memory: whether tensors are returned in page-locked memory.
        degrade: whether the images are also degraded, where the dataset has a recipe; otherwise they get plans.

    Iteration raises UserError with the same text when a worker has raised it.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batch_size: int,
        rows: slice,
        seed: int,
        start: int = 0,
        workers: int = 0,
        pin_memory: bool = False,
        degrade: bool = True,
    ):
        images = _NumberedImages(dataset, seed, degrade)
        counters = _Counters(batch_size, rows, start)
        self._loader = BatchLoader(dataset, images.read, counters, workers, keep_workers=True, pin_memory=pin_memory)

    def __iter__(self) -> Iterator[Batch]:
        yield from self._loader


class _Counters:
    """Endless lists of image counters, one list a batch."""

    def __init__(self, batch_size: int, rows: slice, start: int):
        self.batch_size = batch_size
        self.rows = rows
        self.start = start

    def __iter__(self) -> Iterator[list[int]]:
        for first in itertools.count(self.start, self.batch_size):
            yield list(range(first, first + self.batch_size)[self.rows])


class _NumberedImages:
    """The batch of the images with given counters."""

    def __init__(self, dataset: ImageDataset, seed: int, degrade: bool):
        self.dataset = dataset
        self.seed = seed
        self.degrade = degrade
        self._orders: dict[int, np.ndarray] = {}  # orders of the last rounds

    def read(self, counters: list[int]) -> Batch:
        """Return the batch, degraded here or with plans for it, where the dataset has a recipe."""
        indices = [self._index(counter) for counter in counters]
        labels = _stack([self.dataset.label(index) for index in indices])
        if self.degrade and self.dataset.degradation is not None:
            keys = [(self.seed, FOR_DEGRADATION, counter) for counter in counters]
            pairs = [self.dataset.pair(index, key) for index, key in zip(indices, keys, strict=True)]
            images, degraded = (_stack(side) for side in zip(*pairs, strict=True))
            return Batch(images, degraded, labels)
        images = _stack([self.dataset.image(index) for index in indices])
        return Batch(images, None, labels, self._plans(counters))

    def _plans(self, counters: list[int]) -> "Sequence[ImagePlan] | None":
        if self.dataset.degradation is None:
            return None
        from degradations.batched.tasks import plan_numbered

        return plan_numbered(self.dataset.degradation, self.seed, counters, self.dataset.resolution)

    def _index(self, counter: int) -> int:
        round_number, position = divmod(counter, len(self.dataset))
        if round_number not in self._orders:  # a batch may touch the end of one round and the beginning of the next
            last = dict(list(self._orders.items())[-1:])
            self._orders = {**last, round_number: round_order(self.dataset, self.seed, round_number)}
        return int(self._orders[round_number][position])


def _stack(arrays: Iterable[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(list(arrays)))
