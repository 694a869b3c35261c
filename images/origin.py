"""Origin of images: PNG files of this program carry a mark, so that what it has written does not become its input.

The mark is a distance: 0 for what has none, such as photos; 1 for images generated from seeds; 2 for what is made of
other images (restored, degraded, sheets of several), and one more for each time that is done to such an image.
"""

import os
import re
from collections.abc import Mapping

from PIL.PngImagePlugin import PngInfo

from dnnlib.errors import UserError
from dnnlib.limits import IMAGE_BYTES
from dnnlib.reading import open_file

PHOTO, GENERATED, DERIVED = 0, 1, 2
HEAD = 256  # bytes of a file that hold the mark, right after the header

_KEY, _PROGRAM = "Software", "QC-StyleGAN, distance"
_MARK = re.compile(rf"tEXt{_KEY}\0{_PROGRAM} (\d{{1,4}})".encode())


def mark(distance: int) -> PngInfo:
    """Return the text that marks a PNG as an image at this distance from a photo."""
    info = PngInfo()
    info.add_text(_KEY, f"{_PROGRAM} {distance}")
    return info


def distance(head: bytes) -> int:
    """Return the distance from a photo of the image whose file begins so; `HEAD` bytes are enough."""
    found = _MARK.search(head[:HEAD])
    return int(found[1]) if found else PHOTO


def read_head(path: str | os.PathLike) -> bytes:
    """Return the first `HEAD` bytes of a file; none of one that cannot be read, of which its reader will tell."""
    try:
        with open_file(path, IMAGE_BYTES) as file:
            return file.read(HEAD)
    except (UserError, OSError):
        return b""


def made_of_others(distances: Mapping[str, int]) -> list[str]:
    """Return which images this program has made of others among them, by their distances from photos.

    They are those farther away than the nearest: degraded photos beside photos, or figures beside generated images.
    Where all are alike, none is: the images of a folder that one command has filled are what is meant.
    """
    nearest = min(distances.values(), default=PHOTO)
    return sorted(name for name, far in distances.items() if far > nearest)
