"""Real images as a stream, as they are or degraded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from images.datasets.dataset import ImageDataset
from images.datasets.workers import BatchLoader
from metrics.image_stream import ImageStream
from torch_utils.purposes import FOR_METRICS


def real_stream(dataset: ImageDataset, quality: str, seed: int = 0, batch: int = 32, workers: int = 0) -> ImageStream:
    """Return the images of a dataset, without mirrored copies, as a stream.

    Args:
        dataset: the images, with a degradation recipe where `quality` is `degraded`.
        quality: quality of the images, `sharp` or `degraded`.
        seed: seed of the degradations; an image always gets the same one.
        batch: number of images in a batch.
        workers: number of processes that read and degrade.
    """

    def identity() -> dict[str, Any]:
        depends = {"degradation": dataset.degradation, "seed": seed} if quality == "degraded" else {}
        return {"images": dataset.fingerprint, "quality": quality, **depends}

    def batches(first: int, step: int) -> Iterator[Tensor]:
        starts = range(first * batch, dataset.num_images, step * batch)
        indices = [range(start, min(start + batch, dataset.num_images)) for start in starts]
        yield from BatchLoader(dataset, _Reals(dataset, quality, seed).read, indices, workers)

    return ImageStream(f"{dataset.name}, {quality}", dataset.num_images, batch, batches, identity)


class _Reals:
    """Batches of real images, sharp or degraded, by their indices."""

    def __init__(self, dataset: ImageDataset, quality: str, seed: int) -> None:
        self.dataset = dataset
        self.quality = quality
        self.seed = seed

    def read(self, indices: range) -> Tensor:
        """Return uint8 images `[N, C, H, W]`."""
        return torch.stack([torch.from_numpy(self._image(index)) for index in indices])

    def _image(self, index: int) -> np.ndarray:
        if self.quality == "sharp":
            return self.dataset.image(index)
        return self.dataset.pair(index, (self.seed, FOR_METRICS, index))[1]
