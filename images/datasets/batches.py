"""The endless, reproducible stream of training batches."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dnnlib.errors import UserError
from images.datasets.dataset import ImageDataset
from images.datasets.workers import prepare_worker
from torch_utils.purposes import FOR_DEGRADATION, FOR_ORDER


@dataclass(frozen=True)
class Batch:
    """Images uint8 `[N, C, H, W]`, the same degraded (or None), and labels float32 `[N, label_dim]`."""

    images: torch.Tensor
    degraded: torch.Tensor | None
    labels: torch.Tensor

    def tensors(self) -> list[torch.Tensor]:
        """Return what there is."""
        return [tensor for tensor in (self.images, self.degraded, self.labels) if tensor is not None]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; from pinned memory, the host does not wait for the copy."""
        degraded = None if self.degraded is None else self.degraded.to(device, non_blocking=True)
        return Batch(self.images.to(device, non_blocking=True), degraded, self.labels.to(device, non_blocking=True))


class TrainingBatches:
    """Endless batches whose content depends on the seed and the image counter alone.

    Image number n of a run is `dataset[p[n % len]]`, where p is the permutation of round `n // len`, and its
    degradation is seeded by n. So the batches are the same for any number of workers, a run resumed at counter
    `start` sees what it would have seen uninterrupted, and processes that divide the rows see together what one
    sees alone. Every `iter()` begins at `start`.

    Args:
        batch_size: images in the whole batch, over all processes.
        rows: the part of each batch that this process wants.
        start: image counter of the first batch.
        workers: processes that read and degrade; 0 does it in this one.
        pin_memory: return tensors in page-locked memory.
        degrade: also degrade the images, where the dataset has a recipe.

    Iteration raises UserError, as one sentence also when a worker met it.
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
        self.dataset = dataset
        self._loader = torch.utils.data.DataLoader(
            _NumberedImages(dataset, seed, degrade),
            batch_sampler=_Counters(batch_size, rows, start),
            collate_fn=unchanged,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=prepare_worker,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # its own, so that iterating draws nothing from the global one
        )

    def __iter__(self) -> Iterator[Batch]:
        for answer in self._loader:
            if isinstance(answer, str):
                raise UserError(answer)  # a fresh one: a variable that held it would keep the workers alive in a cycle
            for file_index, reason in answer.pop("bad_images").items():
                self.dataset.set_aside(file_index, reason)
            yield Batch(**answer)


class _Counters:
    """Lists of image counters, one list for each batch, without end."""

    def __init__(self, batch_size: int, rows: slice, start: int):
        self.batch_size, self.rows, self.start = batch_size, rows, start

    def __iter__(self) -> Iterator[list[int]]:
        for first in itertools.count(self.start, self.batch_size):
            yield list(range(first, first + self.batch_size)[self.rows])


class _NumberedImages(torch.utils.data.Dataset):
    """Tensors of a batch by image counters.

    The sentence of a UserError is returned: the loader would bury a raised one in the text of a worker's traceback.
    """

    def __init__(self, dataset: ImageDataset, seed: int, degrade: bool):
        self.dataset, self.seed = dataset, seed
        self.degrade = degrade and dataset.degradation is not None

    def __getitems__(self, counters: list[int]) -> dict[str, Any] | str:
        try:
            return self._batch(counters)
        except UserError as error:
            return str(error)

    def _batch(self, counters: list[int]) -> dict[str, Any]:
        known_bad = set(self.dataset.bad_images)
        indices = [self._index(counter) for counter in counters]
        degraded = None
        if not self.degrade:
            images = _stack([self.dataset.image(index) for index in indices])
        else:
            keys = [(self.seed, FOR_DEGRADATION, counter) for counter in counters]
            pairs = [self.dataset.pair(index, key) for index, key in zip(indices, keys, strict=True)]
            images, degraded = (_stack(side) for side in zip(*pairs, strict=True))
        labels = _stack([self.dataset.label(index) for index in indices])
        bad_images = {index: why for index, why in self.dataset.bad_images.items() if index not in known_bad}
        return {"images": images, "degraded": degraded, "labels": labels, "bad_images": bad_images}

    def _index(self, counter: int) -> int:
        round_number, position = divmod(counter, len(self.dataset))
        return int(_permutation(self.seed, round_number, len(self.dataset))[position])


@functools.lru_cache(maxsize=2)  # a batch may touch the end of one round and the beginning of the next
def _permutation(seed: int, round_number: int, length: int) -> np.ndarray:
    return np.random.default_rng((seed, FOR_ORDER, round_number)).permutation(length)


def _stack(arrays: Iterable[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(list(arrays)))


def unchanged(answer: Any) -> Any:
    """Collate what a dataset's `__getitems__` has put together already."""
    return answer
