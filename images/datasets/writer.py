"""Writer of data sets: converted images, their labels and their origin, as a zip archive or a folder."""

import contextlib
import io
import itertools
import json
import logging
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
from tqdm import tqdm

from dnnlib.errors import UserError
from dnnlib.files import NAME_KEPT, replace_file
from images.convert import Shape, to_gray_or_rgb
from images.datasets.labels import Label
from images.datasets.sources import CURES, Source
from images.decoding import UnreadableImageError, image_errors
from images.listing import METADATA

# File extension and Pillow's arguments of each format.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("png", {"format": "PNG"}),
    "jpeg95": ("jpg", {"format": "JPEG", "quality": 95, "subsampling": 0}),
}
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal datasets are equal bytes

logger = logging.getLogger(__name__)

Put = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Options:
    """How images are converted.

    Attributes:
        shape: crop and size of the images.
        mode: Pillow's mode, "L" or "RGB"; None takes that of the first image.
        background: colour behind transparent pixels.
        file_format: key of `FORMATS`.
        max_images: number of images to convert; None converts all.
        skip_bad_images: whether unreadable images are left out instead of raising an error.
    """

    shape: Shape
    mode: str | None
    background: tuple[int, int, int]
    file_format: str
    max_images: int | None
    skip_bad_images: bool


def write_dataset(source: Source, dest: str | os.PathLike, options: Options) -> dict[str, Any]:
    """Write all images of `source` to `dest`, a new `.zip` or a new folder, and return the record of their origin.

    `dest` appears when everything is written. The same source and options give the same bytes.
    Raises UserError for images that do not fit together and for a destination that cannot be written.
    """
    with _destination(Path(dest)) as put:
        conversion = _Conversion(source, options)
        for index, (name, image, label) in enumerate(conversion.images()):
            extension, arguments = FORMATS[options.file_format]
            stored_name = f"{index // 1000:05d}/img{index:08d}.{extension}"
            put(stored_name, _encode(image, arguments))
            conversion.labels.append((stored_name, name, label))
        record = conversion.record()
        content = {"labels": conversion.label_list(), "source": record}
        put(METADATA, json.dumps(content, separators=(",", ":")).encode())
    return record


class _Conversion:
    """The conversion of a source, and what is known so far of its images."""

    def __init__(self, source: Source, options: Options):
        self.source = source
        self.options = options
        self.mode: str | None = options.mode
        self.side: int | None = None
        self.labels: list[tuple[str, str, Label | None]] = []  # (stored name, name in the source, label)
        self.skipped: list[str] = []
        self.enlarged = 0

    def images(self) -> Iterator[tuple[str, PIL.Image.Image, Label | None]]:
        """Yield name in the source, converted image and label, with a progress bar."""
        count = min(self.source.count, self.options.max_images or self.source.count)
        with tqdm(total=count, unit="image", disable=None) as progress:
            for item in itertools.islice(self._readable(), count):
                yield item
                progress.update()

    def _readable(self) -> Iterator[tuple[str, PIL.Image.Image, Label | None]]:
        for item in self.source.images():
            try:
                with image_errors(lambda: f"{item.name} of {self.source.name}", CURES.damaged):  # noqa: B023
                    image = to_gray_or_rgb(item.load(), self.options.background)
            except UnreadableImageError as error:
                if not self.options.skip_bad_images:
                    raise
                self.skipped.append(item.name)
                logger.warning("%s; it is left out", error.problem)
                continue
            yield item.name, self._uniform(image, item.name), item.label

    def _uniform(self, image: PIL.Image.Image, name: str) -> PIL.Image.Image:
        """Return the image with the mode and side of the others."""
        what = f"{name} of {self.source.name}"
        self.mode = self.mode or image.mode
        if self.mode == "L" and image.mode == "RGB" and self.options.mode is None:
            raise UserError(f"{what} has colours and the images before it are gray; pass --rgb or --gray")
        self.enlarged += self.options.shape.enlarges(image.size)
        image = self.options.shape.apply(image.convert(self.mode), what)
        self.side = self.side or image.width
        if image.width != self.side or self.side < 4 or self.side & (self.side - 1):
            expected = "a power of two" if image.width == self.side else f"{self.side} like the first"
            lower = max(4, 1 << (image.width.bit_length() - 1))
            raise UserError(f"the side of {what} is {image.width} pixels, not {expected}; pass --resolution={lower}")
        return image

    def label_list(self) -> list[tuple[str, Label]] | None:
        """Return stored names with their labels; None when no image has a label."""
        unlabelled = [name for _, name, label in self.labels if label is None]
        if len(unlabelled) == len(self.labels):
            return None
        assert not unlabelled, f"{unlabelled[0]} has no label, others have"
        return [(stored_name, label) for stored_name, _, label in self.labels if label is not None]

    def record(self) -> dict[str, Any]:
        """Return the origin of the data set, as JSON values; raise UserError when it has no images."""
        if not self.labels:
            raise UserError(
                f"none of the {self.source.count} images of {self.source.name} can be read; check the source"
            )
        if self.enlarged:
            logger.warning("%d images have fewer pixels than --resolution and were enlarged", self.enlarged)
        return {
            "tool": "dataset_tool",
            "format_version": 1,
            "resolution": self.side,
            "channels": 1 if self.mode == "L" else 3,
            "filter": self.options.shape.filter,
            "crop": self.options.shape.crop,
            "source": self.source.name,
            "source_sha256": self.source.sha256,
            "num_images": len(self.labels),
            "skipped": self.skipped,
        }


def _encode(image: PIL.Image.Image, arguments: dict[str, Any]) -> bytes:
    image.info.clear()  # neither colour profiles nor comments of the source
    buffer = io.BytesIO()
    image.save(buffer, **arguments)
    return buffer.getvalue()


@contextlib.contextmanager
def _destination(dest: Path) -> Iterator[Put]:
    """Yield a function that stores one file; the data set appears at `dest` at the end."""
    if not dest.parent.is_dir():
        raise UserError(f"the folder {dest.parent} of --dest does not exist; make it first")
    if dest.suffix.lower() == ".zip":
        with replace_file(dest) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            yield lambda name, data: _put_in_zip(archive, name, data)
        return
    if os.path.lexists(dest) and not _is_free(dest):
        raise UserError(f"{dest} exists already and is no .zip; pass a new folder or OUT.zip as --dest")
    temporary = dest.with_name(f".{dest.name[:NAME_KEPT]}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(mode=0o700)
        yield lambda name, data: _put_in_folder(temporary, name, data)
        temporary.chmod(0o755)
        temporary.replace(dest)
    except OSError as error:
        raise UserError(f"cannot write {dest}: {error.strerror or error}; free some space or choose another") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_free(dest: Path) -> bool:
    """Return whether something is an empty folder, which the data set can replace: none where a disk is mounted."""
    return dest.is_dir() and not os.path.ismount(dest) and not any(dest.iterdir())


def _put_in_zip(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, ZIP_EPOCH)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same bytes on every system
    archive.writestr(entry, data)


def _put_in_folder(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
