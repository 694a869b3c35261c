"""Readers of published data sets in their own formats: CIFAR-10, MNIST and LSUN (lmdb)."""

import functools
import gzip
import io
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from dnnlib import limits
from dnnlib.errors import UserError, counted
from dnnlib.reading import explained, open_file, path_exists, read_at_most
from images.datasets.labels import LabelledImage
from images.datasets.lmdb_pages import LmdbFile
from images.decoding import decode, image_errors

AGAIN = "download it again"
SIDE = 32  # px, of CIFAR-10
MNIST_BORDER = 2  # px, which makes 28 to 32
MNIST_IMAGES, MNIST_LABELS = 2051, 2049  # magic numbers of the two kinds of file

# Number of images, and a function that yields them.
ImagesByCall = tuple[int, Callable[[], Iterator[LabelledImage]]]


def read_cifar10(path: Path) -> ImagesByCall:
    """Read the training images of `cifar-10-python.tar.gz` (the test images when it has no others).

    Its pickles are read as data, see `torch_utils.untrusted.pickles`. Raises UserError for any other file.
    """
    with explained(lambda: str(path), f"use cifar-10-python.tar.gz as it is published, or {AGAIN}"):
        batches = [_cifar10_batch(content) for content in _cifar10_pickles(path)]
        if not batches:
            raise ValueError("it holds no batches of CIFAR-10")
    images = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    labels = [label for _, labels in batches for label in labels]
    return len(images), functools.partial(_from_arrays, images, labels)


def _cifar10_pickles(path: Path) -> list[bytes]:
    """Return the pickles of an archive's batches, in the order of their names."""
    with tarfile.open(fileobj=io.BytesIO(_unzipped(path, limits.CIFAR_BYTES)), mode="r:") as archive:
        files = sorted((member for member in archive if member.isreg()), key=lambda member: member.name)
        chosen = [member for member in files if "data_batch_" in member.name]
        chosen = chosen or [member for member in files if member.name.endswith("test_batch")]
        return [file.read() for file in map(archive.extractfile, chosen) if file is not None]


def _cifar10_batch(content: bytes) -> tuple[np.ndarray, list[int]]:
    """Return the pixels uint8 `[N, 3072]` and the classes of a pickled batch; raise ValueError for another object."""
    from torch_utils.untrusted.arrays import PickledArray  # imported here, since only CIFAR needs torch
    from torch_utils.untrusted.pickles import Budget, read_pickle

    try:
        batch = read_pickle(content, {}, Budget(2 * len(content)))
    except UserError as error:
        raise ValueError(f"its pickle {error.problem}") from error
    data, labels = (_entry(batch, name) for name in ("data", "labels"))
    pixels = data.values if isinstance(data, PickledArray) else None
    if pixels is None or not isinstance(labels, list) or pixels.dtype != np.uint8:
        raise ValueError("it holds no batches of CIFAR-10")
    if pixels.shape != (len(labels), 3 * SIDE * SIDE) or not all(type(n) is int and 0 <= n < 10 for n in labels):
        raise ValueError("it holds other images or labels than CIFAR-10")
    return pixels, labels


def _entry(batch: Any, name: str) -> Any:
    """Return an entry of a batch, whose keys are texts of Python 2 (bytes) where it is as published."""
    return batch.get(name.encode(), batch.get(name)) if isinstance(batch, dict) else None


def _unzipped(path: Path, limit: int) -> bytes:
    """Return what is in a gzip file, read to its end, where its checksum is compared."""
    with open_file(path, limit, AGAIN) as file, gzip.open(file) as content:
        return read_at_most(content, limit)


def read_mnist(path: Path) -> ImagesByCall:
    """Read `*-images-idx3-ubyte.gz`, padded with black from 28 to 32 pixels, with the labels beside it if any."""
    if "images-idx3" not in path.name:
        raise UserError(f"{path} is not a file of MNIST images; pass the one called *-images-idx3-ubyte.gz")
    images = _read_idx(path, MNIST_IMAGES, 3)
    if images.size == 0:
        raise UserError(f"no images in {path}", AGAIN)
    labels_path = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    has_labels = path_exists(labels_path)
    labels = _read_idx(labels_path, MNIST_LABELS, 1).tolist() if has_labels else [None] * len(images)
    if len(labels) != len(images):
        raise UserError(
            f"{labels_path} has {counted(len(labels), 'label')} for {counted(len(images), 'image')}",
            "download both again",
        )
    return len(images), functools.partial(_from_arrays, images, labels, MNIST_BORDER)


def _read_idx(path: Path, magic: int, dimensions: int) -> np.ndarray:
    """Return the uint8 array of an idx file, which begins with the number `magic`."""
    with explained(lambda: str(path), AGAIN):
        data = _unzipped(path, limits.MNIST_BYTES)
        header = struct.unpack_from(f">{1 + dimensions}I", data)
        if header[0] != magic:
            raise ValueError(f"it begins with {header[0]}, not {magic}")
        return np.frombuffer(data, np.uint8, offset=4 * len(header)).reshape(header[1:])


def _from_arrays(images: np.ndarray, labels: list[int] | list[None], border: int = 0) -> Iterator[LabelledImage]:
    """Yield images `[N, H, W]` or `[N, H, W, 3]` with a black border of that many pixels."""
    for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        padded = np.pad(pixels, border) if border else np.ascontiguousarray(pixels)
        yield LabelledImage(f"img{index:08d}", functools.partial(PIL.Image.fromarray, padded), label)


def read_lsun(path: Path) -> ImagesByCall:
    """Read the folder of an LSUN lmdb, without labels."""
    cure = "download the lmdb again"
    with explained(lambda: str(path), cure):
        database = LmdbFile.open(open_file(path / "data.mdb", limits.ANY_BYTES, cure))
    if database.entries == 0:
        raise UserError(f"no images in {path}", cure)

    return database.entries, functools.partial(_images_of_lsun, path, cure)


def _images_of_lsun(path: Path, cure: str) -> Iterator[LabelledImage]:
    with explained(lambda: str(path), cure):
        database = LmdbFile.open(open_file(path / "data.mdb", limits.ANY_BYTES, cure))
        for key, data in database.items(limits.IMAGE_BYTES):
            name = key.decode("latin1")
            yield LabelledImage(name, functools.partial(_decode_entry, f"image {name} of {path}", data))


def _decode_entry(what: str, data: bytes) -> PIL.Image.Image:
    with image_errors(lambda: what):
        return decode(data)
