"""Decoding images: the one place that hands the bytes of a file to Pillow, for a closed list of formats.

Without such a list Pillow tries everything that it knows on any file, and one of its readers starts Ghostscript.
"""

import io
import struct
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
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
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
PLAIN_MODES = ("L", "RGB")
CURE = "replace the file"


class UnreadableImageError(UnreadableError):
    """One image is damaged; others may be readable."""


def open_image(file: IO[bytes]) -> PIL.Image.Image:
    """Return an image whose pixels are decoded when they are needed; raises Pillow's exceptions, and ValueError.

    Args:
        file: bytes of an image in one of `FORMATS`, of at most `limits.PIXELS` pixels.
    """
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


def image_errors(what: Callable[[], str], cure: str = CURE) -> AbstractContextManager[None]:
    """Turn whatever decoding raises into an UnreadableImageError of one sentence about `what()`; see `explained`."""
    return explained(what, cure, UnreadableImageError, _reason)


def _known_formats() -> list[str]:
    """Return those of `FORMATS` that this build of Pillow reads."""
    PIL.Image.init()
    return [name for name in FORMATS if name in PIL.Image.OPEN]


def _reason(error: Exception) -> str:
    if isinstance(error, PIL.Image.DecompressionBombError):
        return f"it has more than {limits.PIXELS / 1e6:.0f} megapixels, the most that is read"
    if isinstance(error, PIL.UnidentifiedImageError):
        return "it is not an image of a known kind, or damaged"
    if isinstance(error, struct.error | IndexError | KeyError | TypeError):
        return "it is damaged"
    return one_line(error)
