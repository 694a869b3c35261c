"""Labels of images, read from `dataset.json`: all are class numbers, or all are vectors of one length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from dnnlib.errors import UserError
from dnnlib.reading import explained, parse_json
from dnnlib.remarks import remark
from images.files import ImageFiles
from images.listing import METADATA, plain_name

MAX_CLASSES = 100_000
LARGEST = float(np.finfo(np.float32).max)  # number in a label; training has them in single precision

SHOWN = 5  # ranges of numbers that a remark names

Label = int | list[float]


@dataclass(frozen=True)
class LabelledImage:
    """An image of a source: its name, a function that decodes it (or raises UnreadableImageError), and its label."""

    name: str
    load: Callable[[], PIL.Image.Image]
    label: Label | None = None


def read_labels(files: ImageFiles, metadata: dict[str, Any]) -> list[Label]:
    """Return the labels of `files.names`, in that order; warn of classes that no image has.

    Raises UserError when there are none, when an image lacks one, when class numbers are not within
    0..MAX_CLASSES - 1, and when vectors differ in length or hold anything but finite numbers.
    """
    if not metadata.get("labels") and (beside := _labels_beside(files)):
        metadata = {"labels": beside}
    elif not files.has_metadata:
        raise UserError(f"{files.path} has no {METADATA}, which would hold labels", files.cures.labels)
    where = f"{files.base}{METADATA} in {files.path}"
    by_name = _by_name(metadata.get("labels"), where)
    if not by_name:
        raise UserError(f"{where} holds no labels", files.cures.labels)
    names = [plain_name(name.removeprefix(files.base)) for name in files.names]
    missing = [name for name in names if name not in by_name]
    if missing:
        raise UserError(
            f"{where} has no label for {missing[0]} ({len(missing)} of {len(files)} images lack one)",
            files.cures.labels,
        )
    labels = [by_name[name] for name in names]
    length = len(labels[0]) if isinstance(labels[0], list) else None
    for name, label in zip(names, labels, strict=True):
        if not (_is_class(label) if length is None else _is_vector(label, length)):
            expected = (
                f"a class of 0..{MAX_CLASSES - 1}" if length is None else f"a vector of {length or 1} finite numbers"
            )
            like = "" if name == names[0] else " like the first"
            shown = repr(label)[:60]
            raise UserError(f"the label of {name} in {where} is {shown}, not {expected}{like}; correct it")
    if length is None and (empty := sorted(set(range(max(labels))) - set(labels))):
        remark(f"no image has class {ranges(empty)} of 0-{max(labels)} in {where}; classes count from 0 without gaps")
    return labels


def _labels_beside(files: ImageFiles) -> list[list[Any]]:
    """Return names and labels of images whose labels lie beside them, as in WebDataset; none where the first has none.

    They are in `KEY.json`, as `label`, `class` or `cls`, or the number in `KEY.cls`.
    """
    if _label_beside(files, files.names[0]) is None:
        return []
    found = ((name, _label_beside(files, name)) for name in files.names)
    return [[name, label] for name, label in found if label is not None]


def _label_beside(files: ImageFiles, name: str) -> Any:
    text = files.beside(name, ".cls")
    if text is None:
        text = files.beside(name, ".json")
    if text is None:
        return None
    with explained(lambda: f"the label beside {name} in {files.path}", "make the archive again"):
        content = parse_json(text)
    if not isinstance(content, dict):
        return content
    return next((content[key] for key in ("label", "class", "cls") if key in content), None)


def ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text such as `0, 3-5`, cut after the first few."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in parts]
    return ", ".join([*texts[:SHOWN], "..."] if len(texts) > SHOWN else texts)


def _by_name(pairs: Any, where: str) -> dict[str, Any]:
    """Return labels by the names of images; raise UserError where these are no pairs, or contradict each other."""
    try:
        by_name: dict[str, Any] = {}
        for stored_name, label in pairs or []:
            name = plain_name(stored_name)
            if by_name.setdefault(name, label) != label:
                raise UserError(f"{where} lists {name} with two labels, {by_name[name]!r} and {label!r}; keep one")
    except (TypeError, ValueError, AttributeError):
        raise UserError(f'"labels" of {where} is not a list of pairs; write [["00/img.png", 3], ...]') from None
    return by_name


def _is_class(label: Any) -> bool:
    return type(label) is int and 0 <= label < MAX_CLASSES


def _is_vector(label: Any, length: int) -> bool:
    if not isinstance(label, list) or len(label) != length or length == 0:
        return False
    return all(type(value) in (int, float) and abs(value) <= LARGEST for value in label)
