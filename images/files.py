"""Image files in a folder or a zip archive: their names, headers, pixels and `dataset.json`."""

import hashlib
import os
import zipfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np
import PIL.Image

from dnnlib import limits
from dnnlib.archives import open_zip
from dnnlib.errors import UserError, one_line
from dnnlib.parsing import existing
from dnnlib.reading import explained, open_file, parse_json, read_at_most
from images.convert import gray_or_rgb_pixels
from images.decoding import CURE, UnreadableImageError, decode, decode_plain, image_errors, open_image
from images.listing import files_below, list_images, require_images, zip_names
from images.origin import HEAD, read_head
from images.profiles import is_srgb

EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Cures:
    """What to do about images that cannot be used: ends of sentences that work for the command at hand.

    Attributes:
        damaged: about an image that cannot be read.
        mode: about one that is neither 8-bit gray nor RGB.
        source: about a path that is neither a folder nor a zip.
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
    """The images below a folder, or in a zip archive, in sorted order of their names.

    Each process opens the archive itself: a handle from before a fork, whose position the processes would share, is
    never read from, and the handle is not pickled.

    Args:
        path: folder (searched recursively, through links too) or zip archive; see `images.listing` for what counts.
        cures: ends of the sentences about images that cannot be used.

    Raises UserError when nothing is there, when it is neither folder nor zip, and when it holds no image.
    """

    def __init__(self, path: str | os.PathLike, cures: Cures | None = None):
        self.path = existing(path, "image source")
        self.cures = cures or Cures()
        self.is_zip = not self.path.is_dir()
        self._archive: zipfile.ZipFile | None = None
        self._archive_process = 0
        self._entries = zip_names(self._zip().namelist(), self.path) if self.is_zip else {}  # stored names by names
        everything, loops = (list(self._entries), []) if self.is_zip else files_below(self.path)
        listing = list_images(everything, self._read_json, self._read_head, loops)
        self.names, self.base, self._metadata = listing.images, listing.base, listing.metadata
        require_images(listing, self.path)
        if self.is_zip:
            self._check_directory()

    @property
    def has_metadata(self) -> bool:
        """Whether there is a `dataset.json`, at the top or in the one folder that holds all images."""
        return self._metadata is not None

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None, "_archive_process": 0}

    def read(self, name: str) -> bytes:
        """Return the bytes of one file; raise UnreadableImageError when it cannot be read."""
        with self._image_errors(name), self._open(name, limits.IMAGE_BYTES) as file:
            return read_at_most(file, limits.IMAGE_BYTES)

    def fingerprint(self) -> str:
        """Return hex digits that change when any image is added, removed, renamed or replaced.

        It is made from the checksums in the directory of a zip, which is fast, or by reading all files of a folder.
        """
        digest = hashlib.sha256()
        for name in self.names:
            content = self.checksum(name) if self.is_zip else hashlib.sha256(self.read(name)).hexdigest()
            digest.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def checksum(self, name: str) -> str:
        """Return CRC and size of a file, by the directory of the archive."""
        entry = self._entry(name)
        return f"{entry.CRC:08x} {entry.file_size}"

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
        """Return the content of `dataset.json`, or {} without one; raise UserError when it is not a JSON object."""
        if self._metadata is None:
            return {}
        what = f"{self._metadata} in {self.path}"
        with explained(lambda: what, "make it again"):
            content = self._parse(self._metadata)
        if not isinstance(content, dict):
            raise UserError(f'{what} is not an object; write {{"labels": [["00/img.png", 3], ...]}}')
        return content

    def _open(self, name: str, limit: int) -> IO[bytes]:
        if not self.is_zip:
            return open_file(self.path / name, limit, self.cures.damaged, UnreadableImageError)
        entry = self._entry(name)
        if entry.file_size > limit:
            raise ValueError(f"it has {entry.file_size:,} bytes when unpacked, at most {limit:,} are read")
        return self._zip().open(entry)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        return self._zip().getinfo(self._entries[name])

    def _parse(self, name: str) -> Any:
        limit = limits.METADATA_BYTES
        with self._open(name, limit) as file:
            return parse_json(read_at_most(file, limit))

    def _read_json(self, name: str) -> Any:
        try:
            return self._parse(name)
        except Exception:  # noqa: BLE001 - whoever needs it reads it again, and says what is wrong
            return None

    def _read_head(self, name: str) -> bytes:
        """Return the first bytes of a file; none of a damaged one."""
        if not self.is_zip:
            return read_head(self.path / name)
        try:
            with self._zip().open(self._entry(name)) as file:
                return file.read(HEAD)
        except Exception:  # noqa: BLE001 - whoever reads the image says what is wrong
            return b""

    def _zip(self) -> zipfile.ZipFile:
        """Return the archive, opened by this process."""
        if self._archive is None or self._archive_process != os.getpid():
            with explained(lambda: str(self.path), self.cures.source, reason=_no_zip):
                self._archive = open_zip(open_file(self.path, limits.ANY_BYTES, self.cures.source))
                self._archive_process = os.getpid()
        assert self._archive is not None, "opened above"
        return self._archive

    def _check_directory(self) -> None:
        """Raise UserError where a damaged name in the directory of an archive hides an image.

        What is called no image may be one, so those files are opened, which compares their names with those beside
        their contents; images are opened when they are read.
        """
        used = {self._entries[name] for name in [*self.names, *([self._metadata] if self._metadata else [])]}
        others = set(self._zip().namelist()) - used
        with explained(lambda: str(self.path), self.cures.source):
            for name in sorted(others):
                self._zip().open(name).close()

    def _image_errors(self, name: str) -> AbstractContextManager[None]:
        return image_errors(lambda: f"image {self.names.index(name)} of {self.path}, {name},", self.cures.damaged)


def wrong_mode(what: str, mode: str, cures: Cures) -> UserError:
    """Return the error for an image that is neither 8-bit gray nor 8-bit RGB."""
    return UserError(f"{what} has mode {mode}, not 8-bit gray (L) or RGB", cures.mode)


def _no_zip(error: Exception) -> str:
    if isinstance(error, zipfile.BadZipFile):
        return "it is neither a folder nor a whole zip archive"
    return one_line(error)
