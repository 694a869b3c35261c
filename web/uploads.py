"""Photos that were sent to the page: read by the reader of all photos, within the page's own limits."""

import re
from pathlib import Path

from dnnlib.errors import UserError, printable
from dnnlib.limits import MIB
from dnnlib.reading import open_file
from images.decoding import UnreadableImageError, image_errors, open_image
from inversion.photos.reader import PhotoReader, PreparedPhoto
from web.limits import Limits

CURE = "save it again as PNG or JPEG, or smaller"
LONGEST_NAME = 60  # letters of a result's name that repeat the photo's


def read_upload(path: Path, reader: PhotoReader, limits: Limits) -> list[PreparedPhoto]:
    """Return the faces of a photo that was sent to the page, the largest first, or its middle square.

    Its header is looked at first, so that a photo of too many pixels is never decoded.

    Raises UserError of one sentence, which names the photo without the folder that it was put in: for one that cannot
    be read, for one beyond the limits, and for one without a face where faces are looked for.
    """
    name = printable(path.name)
    size = path.stat().st_size
    if size > limits.bytes:
        raise UserError(
            f"{name} has {size / MIB:.1f} MiB, at most {limits.megabytes:g} are taken here", "send it smaller"
        )
    with (
        image_errors(lambda: name, CURE),
        open_file(path, limits.bytes, CURE, UnreadableImageError) as file,
        open_image(file) as image,
    ):
        pixels = image.width * image.height
    if pixels > limits.pixels:
        raise UserError(
            f"{name} has {pixels / 1e6:.1f} megapixels, at most {limits.megapixels:g} are taken here", "send it smaller"
        )
    return reader.read_faces(path, name)


def plain_stem(name: str) -> str:
    """Return the name of a photo as the beginning of a result's name: no ending, and of letters that need no care."""
    return re.sub(r"[^\w.-]+", "_", Path(name).stem, flags=re.ASCII).strip("._-")[:LONGEST_NAME] or "photo"
