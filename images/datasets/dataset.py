"""Training images: what a dataset holds, and the endless, reproducible stream of batches made from it."""

import functools
import hashlib
import itertools
import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dnnlib.errors import UserError, unknown_name
from images.datasets.labels import Label, read_labels
from images.files import ImageFiles, ImageHeader, UnreadableImageError, wrong_mode

CHANNELS_OF_MODE = {"L": 1, "RGB": 3}
# What a random stream is for; part of its key, so that streams of one seed are independent.
FOR_DEGRADATION, FOR_ORDER, FOR_SUBSET, FOR_NOISE = 1, 2, 3, 4

logger = logging.getLogger(__name__)


class ImageDataset:
    """Square uint8 images of one size from a folder or zip, with optional labels and mirrored copies.

    It may be pickled and used after a fork; every process then reads the archive through its own handle.

    Args:
        path: folder or zip of 8-bit gray or RGB images; labels come from its `dataset.json`.
        resolution: what the caller expects; None takes what is there.
        mirror: append the mirrored images, as indices `num_images .. 2 * num_images - 1`.
        subset: use that many images, a choice that depends on `seed` alone; larger subsets contain smaller ones.
        use_labels: serve labels; without it `label_dim` is 0.
        on_bad_image: "fail" raises UnreadableImageError; "skip" serves the next readable image, and its label, instead.
        degradation: recipe of `degradations.degrade`, needed for `pair` only.

    Raises UserError when images differ in size or mode, are not square, or have no power of two as their side, and
    when labels are missing, malformed or out of range, and for an unknown recipe.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        resolution: int | None = None,
        mirror: bool = False,
        subset: int | None = None,
        use_labels: bool = False,
        seed: int = 0,
        on_bad_image: str = "fail",
        degradation: str | None = None,
    ):
        assert on_bad_image in ("fail", "skip"), f"on_bad_image is {on_bad_image!r}, must be 'fail' or 'skip'"
        self.files = ImageFiles(path)
        self.name = self.files.path.stem
        self.mirror, self.on_bad_image, self.degradation = mirror, on_bad_image, degradation
        if degradation is not None:
            check_recipe(degradation)
        self.bad_images: dict[int, str] = {}  # index in `files` -> why it cannot be read
        metadata = self.files.metadata()
        self.resolution, self.channels = self._image_format(metadata)
        if resolution not in (None, self.resolution):
            raise UserError(
                f"{path} holds images of side {self.resolution}, not {resolution}; ask for {self.resolution} or run "
                f"`python dataset_tool.py --source={path} --dest=... --resolution={resolution}`"
            )
        self._labels, self.label_dim = _label_array(read_labels(self.files, metadata)) if use_labels else (None, 0)
        self._chosen = _choose(len(self.files), subset, seed, path)  # int64 [num_images], indices in `files`

    @property
    def num_images(self) -> int:
        """Number of images of the subset, without the mirrored ones."""
        return len(self._chosen)

    def __len__(self) -> int:
        return self.num_images * (2 if self.mirror else 1)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hex digits that change with the images, and with the choice among them; see ImageFiles."""
        digest = hashlib.sha256(self.files.fingerprint().encode())
        digest.update(self._chosen.tobytes())
        return digest.hexdigest()

    def image(self, index: int) -> np.ndarray:
        """Return uint8 `[C, H, W]`, contiguous; raise UnreadableImageError for a damaged file (or when all are)."""
        pixels = self._read(index)[1]  # [H, W, C]
        if index >= self.num_images:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def label(self, index: int) -> np.ndarray:
        """Return float32 `[label_dim]`: one-hot where labels are integers, else the vector itself."""
        if self._labels is None:
            return np.zeros(0, np.float32)
        skips = self.on_bad_image == "skip"
        label = self._labels[self._read(index)[0] if skips else self._chosen[index % self.num_images]]
        if self._labels.ndim == 2:
            return label.copy()
        one_hot = np.zeros(self.label_dim, np.float32)
        one_hot[label] = 1
        return one_hot

    def pair(self, index: int, key: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the sharp image and a degraded one, both uint8 `[C, H, W]`; `key` seeds the degradation."""
        from degradations import degrade  # OpenCV is needed by those alone who degrade

        assert self.degradation is not None, "pair() needs a dataset with a degradation recipe"
        sharp = self.image(index)
        pixels = np.ascontiguousarray(sharp.transpose(1, 2, 0))  # [H, W, C]
        degraded, _ = degrade(pixels, self.degradation, np.random.default_rng(key))
        assert degraded.shape == pixels.shape, f"degraded {pixels.shape} has become {degraded.shape}"
        return sharp, np.ascontiguousarray(degraded.transpose(2, 0, 1))

    def set_aside(self, file_index: int, reason: str) -> None:
        """Remember that a file is bad, and say so the first time."""
        if file_index not in self.bad_images:
            self.bad_images[file_index] = reason
            logger.warning("%s; the next readable image stands in for it", reason)

    def _read(self, index: int) -> tuple[int, np.ndarray]:
        """Return the index in `files` of the image served at `index`, and its pixels `[H, W, C]`."""
        assert 0 <= index < len(self), f"image {index} of a dataset of {len(self)}"
        first = index % self.num_images
        if self.on_bad_image == "fail":
            file_index = int(self._chosen[first])
            return file_index, self._pixels(file_index)
        for position in itertools.chain(range(first, self.num_images), range(first)):
            file_index = int(self._chosen[position])
            if file_index in self.bad_images:
                continue
            try:
                return file_index, self._pixels(file_index)
            except UnreadableImageError as error:
                self.set_aside(file_index, str(error))
        raise self._nothing_readable()

    def _pixels(self, file_index: int) -> np.ndarray:
        name = self.files.names[file_index]
        pixels = self.files.pixels(name)
        expected = (self.resolution, self.resolution, self.channels)
        if pixels.shape != expected:
            raise UserError(
                f"image {file_index} of {self.files.path}, {name}, has height, width and channels "
                f"{pixels.shape}, not {expected}; {_cure(self.files, self.resolution)}"
            )
        return pixels

    def _image_format(self, metadata: dict[str, Any]) -> tuple[int, int]:
        """Return resolution and channels, from the tool's record or else from every header."""
        record = metadata.get("source")
        if _is_ours(record, len(self.files)):
            return record["resolution"], record["channels"]
        found = first_name = None
        for index, name in enumerate(self.files.names):
            try:
                header = self.files.header(name)
            except UnreadableImageError as error:
                if self.on_bad_image == "fail":
                    raise
                self.set_aside(index, str(error))
                continue
            if found is None:
                found, first_name = header, name
                _check_format(self.files, name, header)
            elif header != found:
                _check_format(self.files, name, header)
                raise UserError(
                    f"{name} in {self.files.path} has {header.width}x{header.height} pixels of mode {header.mode}, "
                    f"unlike {first_name} with {found.width}x{found.height} of mode {found.mode}; "
                    f"{_cure(self.files, min(found.width, header.width))}"
                )
        if found is None:
            raise self._nothing_readable()
        return found.width, CHANNELS_OF_MODE[found.mode]

    def _nothing_readable(self) -> UserError:
        first_reason = self.bad_images[min(self.bad_images)]
        return UserError(f"none of the images of {self.files.path} can be read: {first_reason}")


def check_recipe(name: str) -> None:
    """Raise UserError unless there is a degradation recipe called `name`."""
    from degradations import recipe

    if name not in recipe():
        raise unknown_name("degradation recipe", name, recipe())


def _label_array(labels: list[Label]) -> tuple[np.ndarray, int]:
    """Return int64 `[N]` for class numbers or float32 `[N, label_dim]` for vectors, and label_dim."""
    if isinstance(labels[0], int):
        return np.array(labels, np.int64), max(labels) + 1
    return np.array(labels, np.float32), len(labels[0])


def _is_ours(record: Any, num_images: int) -> bool:
    """Whether dataset_tool.py made the dataset, and nobody has added or removed images since."""
    if not isinstance(record, dict) or record.get("tool") != "dataset_tool" or record.get("format_version") != 1:
        return False
    numbers = [record.get(field) for field in ("resolution", "channels", "num_images")]
    return all(type(number) is int for number in numbers) and numbers[2] == num_images


def _choose(count: int, subset: int | None, seed: int, path: str | os.PathLike) -> np.ndarray:
    if subset is None:
        return np.arange(count)
    if not 1 <= subset <= count:
        raise UserError(f"a subset of {subset} of the {count} images of {path} cannot be; choose from 1 to {count}")
    return np.sort(np.random.default_rng((seed, FOR_SUBSET)).permutation(count)[:subset])


def _check_format(files: ImageFiles, name: str, header: ImageHeader) -> None:
    size = header.width
    what = f"{name} in {files.path}"
    stored = f"{what} has {header.width}x{header.height} pixels"
    if header.mode not in CHANNELS_OF_MODE:
        raise wrong_mode(what, header.mode)
    if header.orientation != 1:
        raise UserError(f"{what} is stored turned (EXIF orientation {header.orientation}); {_cure(files, size)}")
    if header.width != header.height:
        raise UserError(f"{stored}, not a square; {_cure(files, size)}")
    if size < 4 or size & (size - 1):
        raise UserError(f"{stored}, the side must be a power of two from 4 on; {_cure(files, size)}")


def _cure(files: ImageFiles, size: int) -> str:
    side = max(4, 1 << (size.bit_length() - 1))
    return f"run `python dataset_tool.py --source={files.path} --dest=... --crop=center --resolution={side}`"


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


def prepare_worker(worker: int) -> None:
    """Ready a DataLoader's worker: one thread, as the workers share the cores; warnings are for the main process."""
    _outlive_signals_to_all()
    torch.set_num_threads(1)
    logger.disabled = True
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)  # sequential; 1 would wait for ever for threads that a fork has left behind


def _outlive_signals_to_all() -> None:
    """Ctrl-C and cluster schedulers signal every process of a run; the main one saves, and ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_when_the_parent_says_so, args=(os.getppid(),), daemon=True).start()


def _end_when_the_parent_says_so(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
