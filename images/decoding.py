"""Decoding images: the one place that hands the bytes of a file to Pillow, for a closed list of formats.

Without such a list Pillow tries everything that it knows on any file, and one of its readers starts Ghostscript.
"""

import contextlib
import io
import struct
import warnings
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
import PIL.Image

from dnnlib import limits
from dnnlib.errors import one_line
from dnnlib.reading import UnreadableError, explained
from images.png import check_png, is_plain, is_png

try:  # decodes PNG about twice as fast as Pillow, to the same pixels
    import pyspng
except ImportError:
    pyspng = None

# Pillow's names of the formats that are read, whatever a file is called; JPEG includes MPO.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000", "HEIF")
# Packages that read a format which this build of Pillow does not; pillow-heif registers itself as Pillow's reader.
READERS = {"AVIF": "a newer pillow", "JPEG2000": "another build of pillow", "HEIF": "pillow-heif"}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
PLAIN_MODES = ("L", "RGB")
CURE = "replace the file"


class UnreadableImageError(UnreadableError):
    """One image is damaged; others may be readable."""


def open_image(file: IO[bytes]) -> PIL.Image.Image:
    """Return an image whose pixels are decoded when they are needed; raises Pillow's exceptions, and ValueError.

    Args:
        file: bytes of an image in one of `FORMATS`, of at most `limits.PIXELS` pixels.
    """
    _require_reader(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        image = PIL.Image.open(file, formats=_known_formats())
    if image.width * image.height > limits.PIXELS:
        raise PIL.Image.DecompressionBombError
    return image


def decode(data: bytes) -> PIL.Image.Image:
    """Return a decoded image of any mode; raises Pillow's exceptions, and ValueError, which `image_errors` explains."""
    if is_png(data):
        check_png(data)
    image = open_image(io.BytesIO(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata that are not used
        image.load()
    return image


def decode_plain(data: bytes) -> np.ndarray | str:
    """Return uint8 `[H, W]` or `[H, W, 3]`; or Pillow's name of the mode, where that is neither 8-bit gray nor RGB.

    Raises what `decode` raises.
    """
    if pyspng is not None and is_png(data) and is_plain(data):
        check_png(data)
        return pyspng.load(data)
    image = decode(data)
    return np.array(image) if image.mode in PLAIN_MODES else image.mode


@contextlib.contextmanager
def image_errors(what: Callable[[], str], cure: str = CURE) -> Iterator[None]:
    """Turn whatever decoding raises into an UnreadableImageError of one sentence about `what()`; see `explained`.

    Pillow's warnings meanwhile, which name its own source, are not shown: they are about damaged metadata.
    """
    with warnings.catch_warnings(), explained(what, cure, UnreadableImageError, _reason):
        warnings.simplefilter("ignore")
        yield


def _known_formats() -> list[str]:
    """Return those of `FORMATS` that this build of Pillow reads."""
    PIL.Image.init()
    return [name for name in FORMATS if name in PIL.Image.OPEN]


def _require_reader(file: IO[bytes]) -> None:
    """Raise ValueError for an image of a format that is known and not readable here."""
    head = file.read(32)
    file.seek(0)
    name = _rare_format(head)
    if name == "HEIF":
        _register_heif()
    if name is not None and name not in _known_formats():
        raise ValueError(
            f"it is {name}, which needs {READERS[name]} (pip install --upgrade {READERS[name].split()[-1]})"
        )


def _rare_format(head: bytes) -> str | None:
    """Return Pillow's name of the format of a file that begins so, where not every Pillow reads it."""
    if head.startswith((b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "JPEG2000"
    if head[4:8] != b"ftyp":
        return None
    is_avif = any(brand in head[8:] for brand in (b"avif", b"avis"))
    return "AVIF" if is_avif else "HEIF" if head[8:12] in HEIF_BRANDS else None


def _register_heif() -> None:
    """Let Pillow read HEIF by pillow-heif, where that is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _reason(error: Exception) -> str:
    if isinstance(error, PIL.Image.DecompressionBombError):
        return f"it has more than {limits.PIXELS / 1e6:.0f} megapixels, the most that is read"
    if isinstance(error, PIL.UnidentifiedImageError):
        return "it is not an image of a known kind, or damaged"
    if isinstance(error, struct.error | IndexError | KeyError | TypeError):
        return "it is damaged"
    return one_line(error)
