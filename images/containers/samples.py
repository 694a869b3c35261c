"""Samples of WebDataset: files of one key, the name up to the first dot after the last folder, belong together."""

from collections.abc import Sequence
from pathlib import Path

from dnnlib.errors import UserError
from images.listing import EXTENSIONS, METADATA

LABELS = (".json", ".cls")  # endings of the files that may hold a sample's label


def sample_key(name: str) -> str:
    """Return the key of a file: `00/cat` of `00/cat.seg.png`."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def without_companions(names: Sequence[str], archive: Path) -> list[str]:
    """Return files without those that belong to an image, such as its label.

    Raises UserError where a sample has two images, of which only one can be meant.
    """
    images: dict[str, str] = {}  # name of the image by key
    for name in names:
        key = sample_key(name)
        if _is_whole(name, key):
            if key in images:
                raise _two_images(images[key], name, archive)
            images[key] = name
    found = []
    for name in names:
        other = images.get(sample_key(name), name)
        if other == name or name.rpartition("/")[2] == METADATA:
            found.append(name)
        elif name.lower().endswith(EXTENSIONS):
            raise _two_images(other, name, archive)
    return found


def _is_whole(name: str, key: str) -> bool:
    """Whether a file is an image whose name is its key and an ending: `cat.png`, and not `cat.seg.png`."""
    return name[len(key) :].lower() in EXTENSIONS


def _two_images(first: str, second: str, archive: Path) -> UserError:
    return UserError(f"{first} and {second} of {archive} are two images of one sample", "pack one image a sample")
