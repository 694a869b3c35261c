"""Readers of published data sets in their own formats: CIFAR-10, MNIST and LSUN (lmdb)."""

import functools
import gzip
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from dnnlib.errors import UserError
from images.datasets.labels import LabelledImage
from images.files import decode, report_damage

MNIST_IMAGES, MNIST_LABELS = 2051, 2049  # magic numbers of the two kinds of file

# Number of images, and a function that yields them.
ImagesByCall = tuple[int, Callable[[], Iterator[LabelledImage]]]


def read_cifar10(path: Path) -> ImagesByCall:
    """Read the training images of `cifar-10-python.tar.gz` (the test images when it has no others)."""
    batches = _cifar10_batches(path)
    images = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = [int(label) for batch in batches for label in batch[b"labels"]]
    return len(images), functools.partial(_from_arrays, images, labels)


def _cifar10_batches(path: Path) -> list[dict[bytes, Any]]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            files = [member for member in archive.getmembers() if member.isfile()]
            files.sort(key=lambda member: member.name)
            chosen = [member for member in files if "data_batch_" in member.name]
            chosen = chosen or [member for member in files if member.name.endswith("test_batch")]
            batches = [_unpickle(archive, member) for member in chosen]
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError(f"{path} is not a whole CIFAR-10 archive for Python: {error}; download it again") from error
    if not batches or not all(_is_cifar10_batch(batch) for batch in batches):
        raise UserError(
            f"{path} holds no CIFAR-10 batches; use cifar-10-python.tar.gz, or unpack it and pass the folder"
        )
    return batches


def _unpickle(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    file = archive.extractfile(member)
    assert file is not None, f"{member.name} is not a file"
    return _NumbersOnly(file, encoding="bytes").load()


def _is_cifar10_batch(batch: Any) -> bool:
    if not isinstance(batch, dict) or not isinstance(batch.get(b"labels"), list):
        return False
    data, labels = batch.get(b"data"), batch[b"labels"]
    is_images = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == (len(labels), 3 * 32 * 32)
    return is_images and all(isinstance(label, int) and 0 <= label < 10 for label in labels)


class _NumbersOnly(pickle.Unpickler):
    """Unpickler of dictionaries, lists, strings and arrays of numbers; it refuses every other name in a pickle."""

    ALLOWED = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _empty_array
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a list of images does not need")
        return self.ALLOWED[module, name]


def _empty_array(kind: type, shape: tuple[int, ...], type_code: bytes) -> np.ndarray:
    """Replace numpy's `_reconstruct`, which pickled arrays call before their content is set."""
    return np.ndarray((0,), np.uint8)


def read_mnist(path: Path) -> ImagesByCall:
    """Read `*-images-idx3-ubyte.gz`, padded with black from 28 to 32 pixels, with the labels beside it if any."""
    if "images-idx3" not in path.name:
        raise UserError(f"{path} is not a file of MNIST images; pass the one called *-images-idx3-ubyte.gz")
    images = np.pad(_read_idx(path, MNIST_IMAGES, 3), [(0, 0), (2, 2), (2, 2)])
    labels_path = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    labels = _read_idx(labels_path, MNIST_LABELS, 1).tolist() if labels_path.exists() else [None] * len(images)
    if len(labels) != len(images):
        raise UserError(f"{labels_path} has {len(labels)} labels for {len(images)} images; download both again")
    return len(images), functools.partial(_from_arrays, images, labels)


def _read_idx(path: Path, magic: int, dimensions: int) -> np.ndarray:
    """Return the uint8 array of an idx file, which begins with the number `magic`."""
    try:
        data = gzip.decompress(path.read_bytes())
        header = struct.unpack_from(f">{1 + dimensions}I", data)
        if header[0] != magic:
            raise ValueError(f"it begins with {header[0]}, not {magic}")
        return np.frombuffer(data, np.uint8, offset=4 * len(header)).reshape(header[1:])
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise UserError(f"{path} is not a whole MNIST file: {error}; download it again") from error


def _from_arrays(images: np.ndarray, labels: list[int] | list[None]) -> Iterator[LabelledImage]:
    for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        yield LabelledImage(
            f"img{index:08d}", functools.partial(PIL.Image.fromarray, np.ascontiguousarray(pixels)), label
        )


def read_lsun(path: Path) -> ImagesByCall:
    """Read the folder of an LSUN lmdb, without labels."""
    try:
        import lmdb
    except ImportError:
        raise UserError(f"{path} is an lmdb, and the package to read it is missing; run `pip install lmdb`") from None
    try:
        database = lmdb.open(str(path), readonly=True, lock=False, readahead=False, max_readers=1)
    except lmdb.Error as error:
        raise UserError(f"{path} is not a whole lmdb: {error}; download it again") from error
    count = database.stat()["entries"]
    if count == 0:
        raise UserError(f"no images in {path}; download the lmdb again")

    def images() -> Iterator[LabelledImage]:
        with database.begin() as transaction:
            for key, data in transaction.cursor():
                yield LabelledImage(key.decode("latin1"), functools.partial(_decode_entry, path, key, data))

    return count, images


def _decode_entry(path: Path, key: bytes, data: bytes) -> PIL.Image.Image:
    with report_damage(lambda: f"image {key.decode('latin1')} of {path}"):
        return decode(data)
