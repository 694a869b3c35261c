"""Image files in a folder or in archives: their names, headers, pixels and `dataset.json`."""

import hashlib
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import PIL.Image

from dnnlib import limits
from dnnlib.errors import UserError
from dnnlib.reading import explained, parse_json, read_at_most
from images.containers.container import Container
from images.containers.joined import joined_metadata
from images.containers.samples import sample_key, without_companions
from images.containers.shards import open_containers
from images.convert import gray_or_rgb_pixels
from images.decoding import CURE, decode, decode_plain, image_errors, open_image
from images.listing import Listing, list_images, require_images
from images.origin import HEAD
from images.profiles import is_srgb

EXIF_ORIENTATION = 0x0112
OPEN = 32  # archives that are open at once


@dataclass(frozen=True)
class Cures:
    """What to do about images that cannot be used: ends of sentences that work for the command at hand.

    Attributes:
        damaged: about an image that cannot be read.
        mode: about one that is neither 8-bit gray nor RGB.
        source: about a path that is neither a folder nor an archive.
        labels: about images without labels, where labels are needed.
        form: about images that are not squares of one size; empty where converting them is right.
    """

    damaged: str = CURE
    mode: str = "save it as 8-bit gray or RGB"
    source: str = "give a folder or a zip of images, or copy the archive again"
    labels: str = "add them"
    form: str = ""


class ImageHeader(NamedTuple):
    """Properties of an image that are known before its pixels are decoded; `mode` is Pillow's."""

    width: int
    height: int
    mode: str
    orientation: int
    is_srgb: bool


class ImageFiles:
    """The images below a folder, in a zip or tar archive, or in several, in sorted order of their names.

    It may be pickled and used after a fork: each process opens archives itself. Names of images in several archives,
    the shards of a data set, begin with the archive's name and `/`.

    Args:
        path: folder (searched recursively, through links too), archive, or a range of archives such as
            `cats-{000..127}.tar`; see `images.listing` for what counts.
        cures: ends of the sentences about images that cannot be used.

    Attributes:
        path: the path that was given.
        names: names of the images.
        shards: number of the archive of each image, int32 `[images]`; None where there is one.
        base: folder in which the names in `dataset.json` begin, with a `/` at its end; "" for the topmost one.

    Raises UserError when nothing is there, when it is neither folder nor archive, and when it holds no image.
    """

    def __init__(self, path: str | os.PathLike, cures: Cures | None = None):
        self.path = Path(path)
        self.cures = cures or Cures()
        self._containers = open_containers(path, self.cures.source)
        self._beside: tuple[Container, frozenset[str]] | None = None
        self._used: list[int] = []  # containers that may be open, the last used one at the end
        self._prefixes = [f"{each.path.name}/" for each in self._containers] if len(self._containers) > 1 else [""]
        self._number = {prefix: number for number, prefix in enumerate(self._prefixes)}
        self._listings = [self._list(number) for number in range(len(self._containers))]
        self.names = [
            prefix + name
            for prefix, listing in zip(self._prefixes, self._listings, strict=True)
            for name in listing.images
        ]
        counts = [len(listing.images) for listing in self._listings]
        self.shards = np.repeat(np.arange(len(counts), dtype=np.int32), counts) if len(counts) > 1 else None
        self.base = self._listings[0].base if self.shards is None else ""

    @property
    def is_folder(self) -> bool:
        """Whether the images are files of their own."""
        return self._containers[0].is_folder

    @property
    def has_metadata(self) -> bool:
        """Whether there is a `dataset.json`, at the top or in the one folder of all images; in each shard."""
        return all(listing.metadata is not None for listing in self._listings)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, name: str) -> bytes:
        """Return the bytes of one file; raise UnreadableImageError when it cannot be read."""
        with self._image_errors(name), self._open(name, limits.IMAGE_BYTES) as file:
            return read_at_most(file, limits.IMAGE_BYTES)

    def fingerprint(self) -> str:
        """Return hex digits that change when any image is added, removed, renamed or replaced.

        It is made from checksums in the directory of an archive, which is fast, or by reading all files of a folder.
        """
        digest = hashlib.sha256()
        for name in self.names:
            content = hashlib.sha256(self.read(name)).hexdigest() if self.is_folder else self.mark(name)
            digest.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def mark(self, name: str) -> str:
        """Return what changes with the content of a file, found quickly; see `Container.mark`."""
        container, inner = self._place(name)
        return container.mark(inner)

    def header(self, name: str) -> ImageHeader:
        """Return size and mode without decoding pixels; raise UnreadableImageError when the file is no image."""
        with self._image_errors(name), self._open(name, limits.IMAGE_BYTES) as file, open_image(file) as image:
            orientation = image.getexif().get(EXIF_ORIENTATION, 1) if "exif" in image.info else 1
            srgb = is_srgb(image.info.get("icc_profile"))
            return ImageHeader(image.width, image.height, image.mode, orientation, srgb)

    def pixels(self, name: str) -> np.ndarray:
        """Return the pixels as stored, uint8 `[H, W, C]` with C = 1 for gray and 3 for RGB.

        Raises UnreadableImageError for a damaged file and UserError for any other kind of pixel.
        """
        data = self.read(name)
        with self._image_errors(name):
            pixels = decode_plain(data)
        if isinstance(pixels, str):
            raise wrong_mode(f"{name} in {self.path}", pixels, self.cures)
        return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]

    def image(self, name: str) -> PIL.Image.Image:
        """Return the decoded image of any mode; raise UnreadableImageError for a damaged file."""
        data = self.read(name)
        with self._image_errors(name):
            return decode(data)

    def picture(self, name: str) -> np.ndarray:
        """Return the pixels as people see them, uint8 `[H, W, C]`, whatever the file: see `gray_or_rgb_pixels`.

        Raises UnreadableImageError for a damaged file.
        """
        data = self.read(name)
        with self._image_errors(name):
            return gray_or_rgb_pixels(decode(data))

    def metadata(self) -> dict[str, Any]:
        """Return the content of `dataset.json`, or {} without one; raise UserError when it is not a JSON object.

        Those of several shards become one: labels of all images, and the record of dataset_tool.py about all.
        """
        parts = [self._metadata_of(number) for number in range(len(self._containers))]
        if self.shards is None:
            return parts[0]
        bases = [prefix + listing.base for prefix, listing in zip(self._prefixes, self._listings, strict=True)]
        return joined_metadata(str(self.path), bases, parts, [len(listing.images) for listing in self._listings])

    def beside(self, name: str, ending: str) -> bytes | None:
        """Return the file beside an image that belongs to the same sample, as in WebDataset; None where there is none.

        Raises UnreadableImageError where it cannot be read.
        """
        container, inner = self._place(name)
        other = sample_key(inner) + ending
        if not container.has_samples or other not in self._files_of(container):
            return None
        with self._image_errors(name), container.open(other, limits.TEXT_BYTES) as file:
            return read_at_most(file, limits.TEXT_BYTES)

    def _files_of(self, container: Container) -> frozenset[str]:
        if self._beside is None or self._beside[0] is not container:
            self._beside = container, frozenset(container.names)
        return self._beside[1]

    def _list(self, number: int) -> Listing:
        """Return the images of a container."""
        container = self._containers[number]
        names = container.names
        if container.has_samples:
            names = without_companions(names, container.path)

        def read_json(name: str) -> Any:
            try:
                return self._parse(number, name)
            except Exception:  # noqa: BLE001 - whoever needs it reads it again, and says what is wrong
                return None

        def read_head(name: str) -> bytes:
            try:
                with self._used_container(number).open(name, limits.IMAGE_BYTES) as file:
                    return file.read(HEAD)
            except Exception:  # noqa: BLE001 - whoever reads the image says what is wrong
                return b""

        listing = list_images(names, read_json, read_head, container.loops)
        require_images(listing, container.path)
        container.check({*listing.images, *([listing.metadata] if listing.metadata else [])})
        return listing

    def _metadata_of(self, number: int) -> dict[str, Any]:
        name = self._listings[number].metadata
        if name is None:
            return {}
        what = f"{name} in {self._containers[number].path}"
        with explained(lambda: what, "make it again"):
            content = self._parse(number, name)
        if not isinstance(content, dict):
            raise UserError(f'{what} is not an object; write {{"labels": [["00/img.png", 3], ...]}}')
        return content

    def _parse(self, number: int, name: str) -> Any:
        limit = limits.METADATA_BYTES
        with self._used_container(number).open(name, limit) as file:
            return parse_json(read_at_most(file, limit))

    def _open(self, name: str, limit: int) -> IO[bytes]:
        container, inner = self._place(name)
        return container.open(inner, limit)

    def _place(self, name: str) -> tuple[Container, str]:
        """Return the container of a file, and its name there."""
        if self.shards is None:
            return self._containers[0], name
        shard, slash, inner = name.partition("/")
        return self._used_container(self._number[shard + slash]), inner

    def _used_container(self, number: int) -> Container:
        """Return a container that is about to be used; those not used for long are closed."""
        if self._used[-1:] != [number]:
            self._used = [*(other for other in self._used if other != number), number]
            for other in self._used[:-OPEN]:
                self._containers[other].close()
            self._used = self._used[-OPEN:]
        return self._containers[number]

    def _image_errors(self, name: str) -> AbstractContextManager[None]:
        return image_errors(lambda: f"{name} in {self.path}", self.cures.damaged)


def wrong_mode(what: str, mode: str, cures: Cures) -> UserError:
    """Return the error for an image that is neither 8-bit gray nor 8-bit RGB."""
    return UserError(f"{what} has mode {mode}, not 8-bit gray (L) or RGB", cures.mode)
