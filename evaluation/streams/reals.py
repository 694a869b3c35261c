"""Real images as a stream, as they are or degraded."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from images.datasets.batches import unchanged
from images.datasets.dataset import ImageDataset
from images.datasets.workers import prepare_worker
from metrics.image_stream import ImageStream
from torch_utils.purposes import FOR_METRICS


def real_stream(
    dataset: ImageDataset, quality: str, seed: int = 0, batch: int = 32, workers: int = 0
) -> ImageStream:
    """Return the images of a dataset, without mirrored copies, as a stream.

    Args:
        dataset: with a degradation recipe where `quality` is `degraded`.
        quality: `sharp` or `degraded`.
        seed: of the degradations; image i always gets the same one.
        batch: images at once.
        workers: processes that read and degrade.
    """

    def identity() -> dict[str, Any]:
        depends = {"degradation": dataset.degradation, "seed": seed} if quality == "degraded" else {}
        return {"images": dataset.fingerprint, "quality": quality, **depends}

    def batches(first: int, step: int) -> Iterator[Tensor]:
        starts = range(first * batch, dataset.num_images, step * batch)
        loader = torch.utils.data.DataLoader(
            _Reals(dataset, quality, seed),
            batch_sampler=[range(start, min(start + batch, dataset.num_images)) for start in starts],
            collate_fn=unchanged,
            num_workers=workers,
            worker_init_fn=prepare_worker,
            generator=torch.Generator(),
        )
        for images, bad_images in loader:
            if images is None:
                raise UserError(bad_images)
            for file_index, reason in bad_images.items():
                dataset.set_aside(file_index, reason)
            yield images

    return ImageStream(f"{dataset.name}, {quality}", dataset.num_images, batch, batches, identity)


class _Reals(torch.utils.data.Dataset):
    """Batches by their indices, and the files found bad on the way, for the main process to speak of.

    In place of both, None and the sentence of a UserError: a worker would bury a raised one.
    """

    def __init__(self, dataset: ImageDataset, quality: str, seed: int):
        self.dataset, self.quality, self.seed = dataset, quality, seed

    def __getitems__(self, indices: range) -> tuple[Tensor, dict[int, str]] | tuple[None, str]:
        try:
            return torch.stack([torch.from_numpy(self._image(index)) for index in indices]), self.dataset.bad_images
        except UserError as error:
            return None, str(error)

    def _image(self, index):
        if self.quality == "sharp":
            return self.dataset.image(index)
        return self.dataset.pair(index, (self.seed, FOR_METRICS, index))[1]
