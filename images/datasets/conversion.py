"""Conversion of the images of a data set, one after the other, in this process or in several."""

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import PIL.Image

from images.convert import Shape, to_gray_or_rgb
from images.datasets.labels import Label, LabelledImage
from images.datasets.sources import CURES, Source
from images.decoding import UnreadableImageError, image_errors

# File extension and Pillow's arguments of each format.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("png", {"format": "PNG"}),
    "jpeg95": ("jpg", {"format": "JPEG", "quality": 95, "subsampling": 0}),
}
AT_ONCE = 8  # images that a process converts before it hands them over


@dataclass(frozen=True)
class Conversion:
    """How images are converted.

    Attributes:
        shape: crop and size of the images.
        mode: Pillow's mode, "L" or "RGB"; None: "L" where all images are gray, else "RGB".
        background: colour behind transparent pixels.
        file_format: key of `FORMATS`.
        skip_bad_images: whether unreadable images are left out instead of raising an error.
    """

    shape: Shape
    mode: str | None
    background: tuple[int, int, int]
    file_format: str
    skip_bad_images: bool


@dataclass(frozen=True)
class Converted:
    """An image of a source as it is stored, or what is wrong with it.

    Attributes:
        name: name in the source.
        label: label of the image.
        problem: why it cannot be read; "" where it can.
        data: content of the file.
        side: side in pixels.
        is_enlarged: whether the image in the source has fewer pixels.
    """

    name: str
    label: Label | None
    problem: str = ""
    data: bytes = b""
    side: int = 0
    is_enlarged: bool = False


def common_mode(source: Source, how: Conversion, count: int) -> str:
    """Return the mode that the first `count` readable images of a source are stored in.

    It looks no further than the first colours. Raises UnreadableImageError unless bad images are left out.
    """
    if how.mode is not None:
        return how.mode
    loaded = (_loaded(item, source.name, how) for item in source.images())
    readable = (image for image in loaded if not isinstance(image, str))
    return "RGB" if any(image.mode == "RGB" for image in itertools.islice(readable, count)) else "L"


def convert(item: LabelledImage, source: str, how: Conversion, mode: str) -> Converted:
    """Return an image of the source of that name as it is stored, in a mode.

    Raises UserError for one that does not fit, and UnreadableImageError unless bad images are left out.
    """
    image = _loaded(item, source, how)
    if isinstance(image, str):
        return Converted(item.name, item.label, problem=image)
    what = f"{item.name} of {source}"
    square = how.shape.apply(image.convert(mode), what)
    data = _encode(square, FORMATS[how.file_format][1])
    return Converted(item.name, item.label, "", data, square.width, how.shape.enlarges(image.size))


def _loaded(item: LabelledImage, source: str, how: Conversion) -> PIL.Image.Image | str:
    """Return an image in mode L or RGB; of an unreadable one what is wrong with it, where bad images are left out."""
    try:
        with image_errors(lambda: f"{item.name} of {source}", CURES.damaged):
            return to_gray_or_rgb(item.load(), how.background)
    except UnreadableImageError as error:
        if not how.skip_bad_images:
            raise
        return error.problem


def convert_in_workers(source: Source, how: Conversion, mode: str, workers: int) -> Iterator[Converted]:
    """Yield the images in order, as processes convert them; see `convert`."""
    from images.datasets.workers import BatchLoader  # imported here, since it needs torch

    images = _NumberedImages(source, how, mode)
    starts = range(0, source.count, AT_ONCE)
    keys = [list(range(start, min(start + AT_ONCE, source.count))) for start in starts]
    for part in BatchLoader(images, images.convert, keys, workers):
        yield from part


@dataclass
class _NumberedImages:
    """Images of a source by their numbers, which only grow from call to call in a process."""

    source: Source
    how: Conversion
    mode: str
    bad_images: dict[int, str] = field(default_factory=dict)
    _rest: Iterator[LabelledImage] | None = None
    _next: int = 0

    def convert(self, numbers: Sequence[int]) -> list[Converted]:
        """Return converted images, of consecutive numbers."""
        if self._rest is None:
            self._rest = self.source.images()
        items = list(itertools.islice(self._rest, numbers[0] - self._next, numbers[-1] + 1 - self._next))
        self._next = numbers[-1] + 1
        return [convert(item, self.source.name, self.how, self.mode) for item in items]

    def set_aside(self, file_index: int, reason: str) -> None:
        """Do nothing: unreadable images are results of `convert`."""


def _encode(image: PIL.Image.Image, arguments: dict[str, Any]) -> bytes:
    image.info.clear()  # neither colour profiles nor comments of the source
    buffer = io.BytesIO()
    image.save(buffer, **arguments)
    return buffer.getvalue()
