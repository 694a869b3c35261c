"""Images, their faces, and what is made of each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch

from dnnlib.errors import UserError, unknown_name
from inversion.inverter import Inverter
from inversion.photos.notes import Notes, notes_on
from inversion.photos.paste_back import paste_all
from inversion.photos.reader import ALL, LARGEST, PhotoReader, PreparedPhoto
from inversion.tuned_weights import Inversion
from networks.generators.interface import Generator
from qc_stylegan.conversion import groups_in_the_form_of, in_the_form_of, pixels_of

BATCH = 8  # images at once

Faces = Literal["all", "largest"]
Item = TypeVar("Item")

Finished = Callable[[Inverter, Inversion, PreparedPhoto], np.ndarray]  # the result for a part, uint8 [R, R, 3]


@dataclass(frozen=True)
class Parts:
    """Which parts of photos are used, and how results come back.

    Attributes:
        align: detector of the faces that are cut out; None: the middle square.
        faces: faces that are cut out with `align`: `all` of a photo, or the `largest`.
        whole: whether whole photos come back, with the results in them.

    Raises UserError for values that are none, or have no effect.
    """

    align: str | None = None
    faces: Faces = LARGEST
    whole: bool = False

    def __post_init__(self) -> None:
        if self.faces not in (ALL, LARGEST):
            raise unknown_name("faces", self.faces, (ALL, LARGEST))
        if self.faces == ALL and self.align is None:
            raise UserError("--faces=all has no effect without --align; give --align=cat, say")

    def reader(self, G: Generator) -> PhotoReader:
        """Return what cuts them out for a network."""
        return PhotoReader(G, self.align, self.faces)


@dataclass(frozen=True, eq=False)
class Made:
    """What was made of a face, or of the middle square of a photo.

    Attributes:
        part: the part of the photo.
        image: the result, uint8 `[R, R, 3]`.
        notes: what somebody should know about it.
    """

    part: PreparedPhoto
    image: np.ndarray
    notes: Notes


def prepare_all(images: Any, reader: PhotoReader) -> list[list[PreparedPhoto]]:
    """Return the faces of each image, the largest first, or its middle square; see `pixels_of` for images."""
    pixels = pixels_of(images)
    if not pixels:
        raise UserError("there are no images; give one")
    return [reader.prepare_faces(photo, f"image {number}") for number, photo in enumerate(pixels)]


def made_of(images: Any, reader: PhotoReader, inverter: Inverter, finished: Finished, subject: str) -> list[list[Made]]:
    """Return what `finished` makes of each face of each image, which are inverted some at a time.

    `subject` says what the network knows.
    """
    photos = prepare_all(images, reader)
    parts = [part for found in photos for part in found]
    made: list[Made] = []
    for batch in (parts[first : first + BATCH] for first in range(0, len(parts), BATCH)):
        inversions = inverter.invert(torch.cat([part.target for part in batch]))
        for inversion, part in zip(inversions, batch, strict=True):
            notes = notes_on(inverter, inversion, part, subject)
            made.append(Made(part, finished(inverter, inversion, part), notes))
    return in_groups(made, photos)


def in_groups(items: Iterable[Item], groups: Sequence[Sequence[Any]]) -> list[list[Item]]:
    """Return items in groups of as many as these have."""
    rest = iter(items)
    return [[next(rest) for _ in group] for group in groups]


def results_in_the_form_of(images: Any, made: Sequence[Sequence[Made]], parts: Parts) -> Any:
    """Return what was made of the faces of images in their form, a group of faces for each, or in whole photos."""
    if parts.whole:
        return in_the_form_of(images, [_with_results(found) for found in made])
    if parts.faces == ALL:
        return groups_in_the_form_of(images, [[face.image for face in found] for found in made])
    return in_the_form_of(images, [face.image for [face] in made])


def _with_results(faces: Sequence[Made]) -> np.ndarray:
    """Return a photo with the results in their places, uint8 `[H, W, 3]`, as `qc-stylegan restore --paste-back`."""
    pasted = [face for number, face in enumerate(faces, 1) if not face.notes.leaves(number)]
    return paste_all(faces[0].part.photo, [face.image for face in pasted], [face.part.square for face in pasted])
