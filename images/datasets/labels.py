"""Labels of images, read from `dataset.json`: all are class numbers, or all are vectors of one length."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from dnnlib.errors import UserError
from images.files import METADATA, ImageFiles

MAX_CLASSES = 1_000_000
LARGEST = float(np.finfo(np.float32).max)  # number in a label; training has them in single precision

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
    if not files.has_metadata:
        raise UserError(f"{files.path} has no {METADATA}, which would hold labels", files.cures.labels)
    where = f"{METADATA} in {files.path}"
    by_name = _by_name(metadata.get("labels"), where)
    if not by_name:
        raise UserError(f"{where} holds no labels", files.cures.labels)
    missing = [name for name in files.names if name not in by_name]
    if missing:
        raise UserError(
            f"{where} has no label for {missing[0]} ({len(missing)} of {len(files)} images lack one)",
            files.cures.labels,
        )
    labels = [by_name[name] for name in files.names]
    length = len(labels[0]) if isinstance(labels[0], list) else None
    for name, label in zip(files.names, labels, strict=True):
        if not (_is_class(label) if length is None else _is_vector(label, length)):
            expected = (
                f"a class of 0..{MAX_CLASSES - 1}" if length is None else f"a vector of {length or 1} finite numbers"
            )
            like = "" if name == files.names[0] else " like the first"
            shown = repr(label)[:60]
            raise UserError(f"the label of {name} in {where} is {shown}, not {expected}{like}; correct it")
    return labels


def _by_name(pairs: Any, where: str) -> dict[str, Any]:
    """Return labels by the names of images; raise UserError where these are no pairs, or contradict each other."""
    try:
        by_name: dict[str, Any] = {}
        for name, label in pairs or []:
            if by_name.setdefault(name, label) != label:
                raise UserError(f"{where} lists {name} with two labels, {by_name[name]!r} and {label!r}; keep one")
    except (TypeError, ValueError):
        raise UserError(f'"labels" of {where} is not a list of pairs; write [["00/img.png", 3], ...]') from None
    return by_name


def _is_class(label: Any) -> bool:
    return type(label) is int and 0 <= label < MAX_CLASSES


def _is_vector(label: Any, length: int) -> bool:
    if not isinstance(label, list) or len(label) != length or length == 0:
        return False
    return all(type(value) in (int, float) and abs(value) <= LARGEST for value in label)
