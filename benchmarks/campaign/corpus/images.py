"""Images of all formats by all ways, data sets, published archives, and videos."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image

from benchmarks.campaign.corpus.readers import Reader, digest
from images.datasets.dataset import ImageDataset
from images.datasets.sources import Source, open_source
from images.files import ImageFiles
from images.photos import read_gray_or_colour, read_photo
from images.video.reader import read_clip
from tests.support.clips import EVEN, make

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (10, 32, 32, 3), np.uint8)
# Pillow's name of a format, and how images are written in it.
FORMATS: dict[str, dict[str, object]] = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "GIF": {},
    "PPM": {},
    "AVIF": {},
    "JPEG2000": {},
}
CIFAR = "cifar-10-batches-py/data_batch_1"


def encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _image_reader(kind: str, way: str, read: Callable[[Path], str]) -> Reader:
    """Return the reader of a format by one of the ways; PNG alone has checksums."""
    content = encode(PIXELS[0], kind, **FORMATS[kind])
    return Reader(f"{kind}, {way}", "a.png", lambda path: path.write_bytes(content), read, kind == "PNG")


def _read_pixels(path: Path) -> str:
    return digest(ImageFiles(path.parent).pixels(path.name))


def _read_as_data(path: Path) -> str:
    dataset = ImageDataset(path.parent)
    return digest(dataset.image(0), dataset.resolution)


def _convert(path: Path) -> str:
    return _read_source(open_source(str(path.parent)))


def _read_source(source: Source) -> str:
    images = [(np.asarray(image.load().convert("RGB")), image.label, image.name) for image in source.images()]
    return digest(source.count, images)


PALETTE = ("GIF", "as a data set")  # data sets have 8-bit gray or RGB
WAYS: dict[str, Callable[[Path], str]] = {
    "as a data set": _read_as_data,
    "converted": _convert,
    "as a photo": lambda path: digest(read_photo(path)),
}


# Data sets.


def _write_dataset(path: Path, recorded: bool, kind: int = zipfile.ZIP_STORED) -> None:
    names = [f"00000/img{index:08d}.png" for index in range(len(PIXELS))]
    content = {"labels": [[name, index % 3] for index, name in enumerate(names)]}
    record = {"tool": "dataset_tool", "format_version": 1, "resolution": 32, "channels": 3, "num_images": len(names)}
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, pixels in zip(names, PIXELS, strict=True):
            archive.writestr(name, encode(pixels))
        archive.writestr("dataset.json", json.dumps({**content, "source": record if recorded else None}))


def _read_dataset(path: Path) -> str:
    dataset = ImageDataset(path, use_labels=True)
    return digest([dataset.image(index) for index in range(len(dataset))], dataset.label_digest(), dataset.files.names)


def _write_labels(path: Path) -> None:
    path.write_text(json.dumps({"labels": [[f"{index}.png", index % 3] for index in range(4)]}))
    for index in range(4):
        path.with_name(f"{index}.png").write_bytes(encode(PIXELS[index]))


def _read_labels(path: Path) -> str:
    return digest(ImageDataset(path.parent, use_labels=True).label_digest())


# Published archives.


def _tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(CIFAR)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _untar(content: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        file = archive.extractfile(CIFAR)
        assert file is not None, "it is there"
        return file.read()


def _write_cifar(path: Path) -> None:
    pixels = RNG.integers(0, 256, (5, 3072), np.uint8)
    path.write_bytes(_tar(pickle.dumps({b"data": pixels, b"labels": [7, 0, 9, 1, 2]}, protocol=2)))


def _write_mnist(path: Path) -> None:
    path.write_bytes(gzip.compress(struct.pack(">4I", 2051, 4, 28, 28) + RNG.bytes(4 * 784)))


def _write_lmdb(path: Path) -> None:
    import lmdb

    with lmdb.open(str(path.parent)) as database, database.begin(write=True) as transaction:
        for index in range(24):
            side = 24 if index % 3 else 8
            transaction.put(b"%04d" % index, encode(PIXELS[index % 10, :side, :side]))


def _read_file(path: Path) -> str:
    return _read_source(open_source(str(path)))


# Videos.


def _read_video(path: Path) -> str:
    clip = read_clip(path)
    return digest([(frame.pixels, frame.time) for frame in clip.frames()], clip.fps)


def _video(ending: str) -> Reader:
    return Reader(f"video .{ending}", f"a.{ending}", lambda path: make(path, EVEN), _read_video, False)


READERS = [
    *(_image_reader(kind, way, WAYS[way]) for kind in FORMATS for way in WAYS if (kind, way) != PALETTE),
    _image_reader("PNG", "in pairs", _read_pixels),
    _image_reader("PNG", "degraded", lambda path: digest(read_gray_or_colour(path))),
    _image_reader("JPEG", "degraded", lambda path: digest(read_gray_or_colour(path))),
    Reader("data set .zip", "data.zip", lambda path: _write_dataset(path, False), _read_dataset, True),
    Reader("data set .zip with its record", "data.zip", lambda path: _write_dataset(path, True), _read_dataset, True),
    Reader(
        "data set .zip, compressed",
        "data.zip",
        lambda path: _write_dataset(path, True, zipfile.ZIP_DEFLATED),
        _read_dataset,
        True,
    ),
    Reader("data set .zip, converted", "data.zip", lambda path: _write_dataset(path, False), _read_file, True),
    Reader("dataset.json", "dataset.json", _write_labels, _read_labels, False),
    Reader("CIFAR-10", "cifar-10-python.tar.gz", _write_cifar, _read_file, True),
    Reader("CIFAR-10, its pickle", "cifar-10-python.tar.gz", _write_cifar, _read_file, False, _untar, _tar),
    Reader("MNIST", "t-images-idx3-ubyte.gz", _write_mnist, _read_file, True),
    Reader(
        "MNIST, its numbers",
        "t-images-idx3-ubyte.gz",
        _write_mnist,
        _read_file,
        False,
        gzip.decompress,
        gzip.compress,
    ),
    Reader("LSUN", "data.mdb", _write_lmdb, lambda path: _read_file(path.parent), False),
    *map(_video, ("mp4", "mkv", "mov")),
]
