"""Image files in a folder or a zip archive: their names, headers, pixels and `dataset.json`."""

import hashlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import PIL.Image

from dnnlib.errors import UserError
from dnnlib.parsing import existing

try:  # decodes PNG about twice as fast as Pillow, to the same pixels
    import pyspng
except ImportError:
    pyspng = None

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
METADATA = "dataset.json"
EXIF_ORIENTATION = 0x0112

# Exceptions of Pillow, pyspng, zipfile and the file system for damaged input.
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    PIL.Image.DecompressionBombError,
)


class UnreadableImageError(UserError):
    """One file is damaged; others may be readable."""


class ImageHeader(NamedTuple):
    """Properties of an image that are known before its pixels are decoded; `mode` is Pillow's."""

    width: int
    height: int
    mode: str
    orientation: int


class ImageFiles:
    """The images below a folder, or in a zip archive, in sorted order of their names.

    Each process opens the archive itself: a handle from before a fork, whose position the processes would share, is
    never read from, and the handle is not pickled.

    Args:
        path: folder (searched recursively) or zip archive; hidden files and those added by macOS are left out.

    Raises UserError when nothing is there, when it is neither folder nor zip, and when it holds no image.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = existing(path, "image source")
        self.is_zip = self.path.is_file()
        self._archive: zipfile.ZipFile | None = None
        self._archive_process = 0
        everything = set(self._zip().namelist() if self.is_zip else _files_below(self.path))
        self.has_metadata = METADATA in everything
        self.names = sorted(name for name in everything if _is_image(name))
        if not self.names:
            raise UserError(f"no images in {self.path}; it needs files that end in {', '.join(EXTENSIONS)}")

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None, "_archive_process": 0}

    def read(self, name: str) -> bytes:
        """Return the bytes of one file; raise UnreadableImageError when it cannot be read."""
        with self._report_damage(name), self._open(name) as file:
            return file.read()

    def fingerprint(self) -> str:
        """Return hex digits that change when any image is added, removed, renamed or replaced.

        It is made from the checksums in the directory of a zip, which is fast, or by reading all files of a folder.
        """
        digest = hashlib.sha256()
        for name in self.names:
            if self.is_zip:
                entry = self._zip().getinfo(name)
                content = f"{entry.CRC:08x} {entry.file_size}"
            else:
                content = hashlib.sha256(self.read(name)).hexdigest()
            digest.update(f"{name}\0{content}\n".encode())
        return digest.hexdigest()

    def header(self, name: str) -> ImageHeader:
        """Return size and mode without decoding pixels; raise UnreadableImageError when the file is no image."""
        with self._report_damage(name), self._open(name) as file, PIL.Image.open(file) as image:
            orientation = image.getexif().get(EXIF_ORIENTATION, 1) if "exif" in image.info else 1
            return ImageHeader(image.width, image.height, image.mode, orientation)

    def pixels(self, name: str) -> np.ndarray:
        """Return the pixels as stored, uint8 `[H, W, C]` with C = 1 for gray and 3 for RGB.

        Raises UnreadableImageError for a damaged file and UserError for any other kind of pixel.
        """
        data = self.read(name)
        with self._report_damage(name):
            if pyspng is not None and _is_plain_png(data):
                pixels = pyspng.load(data)
            else:
                image = decode(data)
                pixels = np.array(image) if image.mode in ("L", "RGB") else image.mode
        if isinstance(pixels, str):
            raise wrong_mode(f"{name} in {self.path}", pixels)
        return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]

    def image(self, name: str) -> PIL.Image.Image:
        """Return the decoded image of any mode; raise UnreadableImageError for a damaged file."""
        data = self.read(name)
        with self._report_damage(name):
            return decode(data)

    def metadata(self) -> dict[str, Any]:
        """Return the content of `dataset.json`, or {} without one; raise UserError when it is not a JSON object."""
        if not self.has_metadata:
            return {}
        try:
            with self._open(METADATA) as file:
                content = json.load(file)
        except _DAMAGE as error:
            raise UserError(f"{METADATA} in {self.path} cannot be read: {_one_line(error)}; make it again") from error
        if not isinstance(content, dict):
            raise UserError(f'{METADATA} in {self.path} is not an object; write {{"labels": [["00/img.png", 3], ...]}}')
        return content

    def _open(self, name: str) -> IO[bytes]:
        return self._zip().open(name) if self.is_zip else open(self.path / name, "rb")

    def _zip(self) -> zipfile.ZipFile:
        """Return the archive, opened by this process."""
        if self._archive is None or self._archive_process != os.getpid():
            try:
                self._archive = zipfile.ZipFile(self.path)
                self._archive_process = os.getpid()
            except zipfile.BadZipFile as error:
                raise UserError(
                    f"{self.path} is neither a folder nor a whole zip archive; check the path, copy it again, or run "
                    f"`python dataset_tool.py --source={self.path} --dest=data.zip --resolution=256`"
                ) from error
            except OSError as error:
                raise UserError(f"{self.path} cannot be opened: {_one_line(error)}; check the file") from error
        return self._archive

    def _report_damage(self, name: str) -> AbstractContextManager[None]:
        return report_damage(lambda: f"image {self.names.index(name)} of {self.path}, {name},")


@contextmanager
def report_damage(describe: Callable[[], str]) -> Iterator[None]:
    """Turn the exceptions of damaged data into an UnreadableImageError of one sentence about the image `describe()`."""
    try:
        yield
    except _DAMAGE as error:
        raise UnreadableImageError(
            f"{describe()} cannot be read: {_one_line(error)}; replace the file or pass --on-bad-image=skip"
        ) from error


def decode(data: bytes) -> PIL.Image.Image:
    """Decode one image of any mode; raises the exceptions of Pillow, which `report_damage` explains."""
    image = PIL.Image.open(io.BytesIO(data))
    image.load()
    return image


def wrong_mode(what: str, mode: str) -> UserError:
    """Return the error for an image that is neither 8-bit gray nor 8-bit RGB."""
    return UserError(
        f"{what} has mode {mode}, training needs 8-bit gray (L) or RGB; "
        "run `python dataset_tool.py --source=... --dest=... --resolution=256`"
    )


def _files_below(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _is_image(name: str) -> bool:
    parts = name.split("/")
    hidden = parts[-1].startswith(".") or "__MACOSX" in parts
    return name.lower().endswith(EXTENSIONS) and not hidden


def _is_plain_png(data: bytes) -> bool:
    """Return whether the header says 8 bits of gray (colour type 0) or RGB (2), which need no conversion."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:26] in (b"\x08\x00", b"\x08\x02")


def _one_line(error: Exception) -> str:
    if isinstance(error, PIL.UnidentifiedImageError):
        return "it is not an image"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split()) or type(error).__name__
