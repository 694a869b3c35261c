"""Labels of images, read from `dataset.json`: all are class numbers, or all are vectors of one length."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import PIL.Image

from dnnlib.errors import UserError
from images.files import METADATA, ImageFiles

MAX_CLASSES = 1_000_000

Label = int | list[float]


@dataclass(frozen=True)
class LabelledImage:
    """An image of a source: its name, a function that decodes it (or raises UnreadableImageError), and its label."""

    name: str
    load: Callable[[], PIL.Image.Image]
    label: Label | None = None


def read_labels(files: ImageFiles, metadata: dict[str, Any]) -> list[Label]:
    """Return the labels of `files.names`, in that order.

    Raises UserError when there are none, when an image lacks one, when class numbers are not within
    0..MAX_CLASSES - 1, and when vectors differ in length or hold anything but finite numbers.
    """
    where = f"{METADATA} in {files.path}"
    try:
        by_name = dict(metadata.get("labels") or [])
    except (TypeError, ValueError):
        raise UserError(f'"labels" of {where} is not a list of pairs; write [["00/img.png", 3], ...]') from None
    if not by_name:
        raise UserError(
            f"{where} holds no labels; train without labels or run "
            f"`python dataset_tool.py --source={files.path} --dest=... --labels=folders`"
        )
    missing = [name for name in files.names if name not in by_name]
    if missing:
        raise UserError(
            f"{where} has no label for {missing[0]} ({len(missing)} of {len(files)} images lack one); "
            "add them or train without labels"
        )
    labels = [by_name[name] for name in files.names]
    length = len(labels[0]) if isinstance(labels[0], list) else None
    for name, label in zip(files.names, labels, strict=True):
        if not (_is_class(label) if length is None else _is_vector(label, length)):
            expected = (
                f"a class of 0..{MAX_CLASSES - 1}" if length is None else f"a vector of {length or 1} finite numbers"
            )
            raise UserError(f"the label of {name} in {where} is {label!r}, not {expected} like the first; correct it")
    return labels


def _is_class(label: Any) -> bool:
    return type(label) is int and 0 <= label < MAX_CLASSES


def _is_vector(label: Any, length: int) -> bool:
    if not isinstance(label, list) or len(label) != length or length == 0:
        return False
    return all(type(value) in (int, float) and math.isfinite(value) for value in label)
