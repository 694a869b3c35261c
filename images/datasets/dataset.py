"""ImageDataset: square images of one size with labels, mirrored copies, subsets and degradations."""

import functools
import hashlib
import itertools
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from dnnlib.errors import UserError, counted, unknown_name
from images.datasets.labels import Label, read_labels
from images.decoding import UnreadableImageError
from images.files import Cures, ImageFiles, ImageHeader, wrong_mode
from torch_utils.purposes import FOR_SUBSET

CHANNELS_OF_MODE = {"L": 1, "RGB": 3}
LARGEST_SIDE = 8192  # px, that a record is believed

logger = logging.getLogger(__name__)


class ImageDataset:
    """Square uint8 images of one size from a folder or archives, with optional labels and mirrored copies.

    It may be pickled and used after a fork; every process reads the archive through its own handle.

    Args:
        path: folder or archive of 8-bit gray or RGB images, or a range of archives; labels come from `dataset.json`, or
            in a tar from what lies beside an image.
        resolution: expected side of the images; None accepts any.
        mirror: whether mirrored images are appended, as indices `num_images .. 2 * num_images - 1`.
        subset: number of images to use, chosen by `seed` alone; larger subsets contain smaller ones.
        use_labels: whether labels are read; without them `label_dim` is 0.
        seed: seed of the choice of `subset`.
        on_bad_image: "fail" raises UnreadableImageError; "skip" returns the next readable image and its label.
        degradation: name of a recipe for `degradations.degrade`, needed for `pair` only.
        cures: ends of sentences about images that cannot be used, where those for training are not right.

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
        cures: Cures | None = None,
    ):
        assert on_bad_image in ("fail", "skip"), f"on_bad_image is {on_bad_image!r}, must be 'fail' or 'skip'"
        self.files = ImageFiles(path, cures or dataset_cures(path, on_bad_image))
        self.name = self.files.path.stem
        self.mirror = mirror
        self.on_bad_image = on_bad_image
        self.degradation = degradation
        if degradation is not None:
            check_recipe(degradation)
        self.bad_images: dict[int, str] = {}  # index in `files` -> reason why it cannot be read
        metadata = self.files.metadata()
        self.resolution, self.channels = self._image_format(metadata)
        if resolution not in (None, self.resolution):
            raise UserError(
                f"{path} holds images of side {self.resolution}, not {resolution}; make such images by "
                f"`python dataset_tool.py --input={path} --output=... --resolution={resolution}`"
            )
        self._labels: np.ndarray | None = None  # int64 [files] or float32 [files, label_dim]
        self.label_dim = 0
        if use_labels:
            self._labels, self.label_dim = _label_array(read_labels(self.files, metadata))
        self._chosen = _choose(len(self.files), subset, seed, path)  # int64 [num_images], indices in `files`

    @functools.cached_property
    def shards(self) -> np.ndarray | None:
        """Number of the archive of each image, int32 `[num_images]`; None where there is one."""
        return None if self.files.shards is None else self.files.shards[self._chosen]

    @property
    def num_images(self) -> int:
        """Number of images of the subset, without the mirrored ones."""
        return len(self._chosen)

    def __len__(self) -> int:
        return self.num_images * (2 if self.mirror else 1)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hex digits that change with the images and with the choice among them; see ImageFiles.fingerprint."""
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

    def label_digest(self) -> str:
        """Return hex digits that change with the labels and with their order; "" where labels are not used."""
        if self._labels is None:
            return ""
        kind = f"{self._labels.dtype} {self._labels.shape} "
        return hashlib.sha256(kind.encode() + self._labels.tobytes()).hexdigest()

    def pair(self, index: int, key: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the sharp image and a degraded one, both uint8 `[C, H, W]`; `key` seeds the degradation."""
        from degradations import degrade  # imported here, since only degrading needs OpenCV

        assert self.degradation is not None, "pair() needs a dataset with a degradation recipe"
        sharp = self.image(index)
        pixels = np.ascontiguousarray(sharp.transpose(1, 2, 0))  # [H, W, C]
        degraded, _ = degrade(pixels, self.degradation, np.random.default_rng(key))
        assert degraded.shape == pixels.shape, f"degraded {pixels.shape} has become {degraded.shape}"
        return sharp, np.ascontiguousarray(degraded.transpose(2, 0, 1))

    def set_aside(self, file_index: int, reason: str) -> None:
        """Record that a file cannot be read, with a warning the first time."""
        if file_index not in self.bad_images:
            self.bad_images[file_index] = reason
            logger.warning("%s; the next readable image stands in for it", reason)

    def _read(self, index: int) -> tuple[int, np.ndarray]:
        """Return the index in `files` of the image returned for `index`, and its pixels `[H, W, C]`."""
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
                self.set_aside(file_index, error.problem)
        raise self._nothing_readable()

    def _pixels(self, file_index: int) -> np.ndarray:
        name = self.files.names[file_index]
        pixels = self.files.pixels(name)
        expected = (self.resolution, self.resolution, self.channels)
        if pixels.shape != expected:
            raise UserError(
                f"{name} in {self.files.path} has height, width and channels "
                f"{pixels.shape}, not {expected}; {_cure(self.files, self.resolution)}"
            )
        return pixels

    def _image_format(self, metadata: dict[str, Any]) -> tuple[int, int]:
        """Return resolution and channels, from the record of dataset_tool.py or else from the header of every file."""
        recorded = _recorded_format(metadata.get("source"), len(self.files))
        if recorded is not None:
            return recorded
        first: ImageHeader | None = None
        first_name = ""
        for index, name in enumerate(self.files.names):
            try:
                header = self.files.header(name)
            except UnreadableImageError as error:
                if self.on_bad_image == "fail":
                    raise
                self.set_aside(index, error.problem)
                continue
            if first is None:
                first, first_name = header, name
                _check_format(self.files, name, header)
            elif header != first:
                _check_format(self.files, name, header)
                raise UserError(
                    f"{name} in {self.files.path} has {header.width}x{header.height} pixels of mode {header.mode}, "
                    f"unlike {first_name} with {first.width}x{first.height} of mode {first.mode}; "
                    f"{_cure(self.files, min(first.width, header.width))}"
                )
        if first is None:
            raise self._nothing_readable()
        return first.width, CHANNELS_OF_MODE[first.mode]

    def _nothing_readable(self) -> UserError:
        first_reason = self.bad_images[min(self.bad_images)]
        return UserError(f"none of the images of {self.files.path} can be read: {first_reason}", "give other data")


def check_recipe(name: str) -> None:
    """Raise UserError unless there is a degradation recipe called `name`."""
    from degradations import recipe_names

    if name not in recipe_names():
        raise unknown_name("degradation recipe", name, recipe_names())


def _label_array(labels: Sequence[Label]) -> tuple[np.ndarray, int]:
    """Return int64 `[N]` for class numbers or float32 `[N, label_dim]` for vectors, and label_dim."""
    if isinstance(labels[0], int):
        classes = np.array(labels, np.int64)
        return classes, int(classes.max()) + 1
    return np.array(labels, np.float32), len(labels[0])


def _recorded_format(record: Any, num_images: int) -> tuple[int, int] | None:
    """Return resolution and channels as recorded by dataset_tool.py; None unless they and the number of images fit."""
    if not isinstance(record, dict) or record.get("tool") != "dataset_tool" or record.get("format_version") != 1:
        return None
    numbers = [record.get(field) for field in ("resolution", "channels", "num_images")]
    if not all(type(number) is int for number in numbers) or numbers[2] != num_images:
        return None
    if not 4 <= record["resolution"] <= LARGEST_SIDE or record["channels"] not in CHANNELS_OF_MODE.values():
        return None
    return record["resolution"], record["channels"]


def _choose(count: int, subset: int | None, seed: int, path: str | os.PathLike) -> np.ndarray:
    """Return the indices of `subset` of `count` files, int64, in ascending order; all of them when None."""
    if subset is None:
        return np.arange(count)
    if not 1 <= subset <= count:
        raise UserError(
            f"a subset of {subset} of the {counted(count, 'image')} of {path} cannot be; choose from 1 to {count}"
        )
    return np.sort(np.random.default_rng((seed, FOR_SUBSET)).permutation(count)[:subset])


def _check_format(files: ImageFiles, name: str, header: ImageHeader) -> None:
    size = header.width
    what = f"{name} in {files.path}"
    stored = f"{what} has {header.width}x{header.height} pixels"
    if header.mode not in CHANNELS_OF_MODE:
        raise wrong_mode(what, header.mode, files.cures)
    if header.orientation != 1:
        raise UserError(f"{what} is stored turned (EXIF orientation {header.orientation}); {_cure(files, size)}")
    if not header.is_srgb:
        raise UserError(f"{what} has another colour space than sRGB (its profile); {_cure(files, size)}")
    if header.width != header.height:
        raise UserError(f"{stored}, not a square; {_cure(files, size)}")
    if size < 4 or size & (size - 1):
        raise UserError(f"{stored}, the side must be a power of two from 4 on; {_cure(files, size)}")


def dataset_cures(path: str | os.PathLike, on_bad_image: str) -> Cures:
    """Return what to do about images that a data set cannot use."""
    convert = f"python dataset_tool.py --input={path} --output=data.zip"
    skip = " or pass --on-bad-image=skip" if on_bad_image == "fail" else ""
    return Cures(
        damaged=f"replace the file{skip}",
        mode=f"run `{convert} --resolution=256`",
        source="give a folder or a zip of images, or copy the archive again",
        labels=f"do without labels, or run `{convert} --labels=folders`",
    )


def _cure(files: ImageFiles, size: int) -> str:
    """Return what makes images usable: the command that converts them to a side that works, at most `size`."""
    if files.cures.form:
        return files.cures.form
    side = max(4, 1 << (size.bit_length() - 1))
    return f"run `python dataset_tool.py --input={files.path} --output=... --crop=center --resolution={side}`"
