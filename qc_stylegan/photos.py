"""Images, their faces, and what is made of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dnnlib.errors import UserError
from inversion.commands.restore import stays
from inversion.inverter import Inverter
from inversion.photos.paste_back import paste_all
from inversion.photos.reader import PhotoReader, PreparedPhoto
from inversion.tuned_weights import Inversion
from qc_stylegan.conversion import pixels_of

BATCH = 8  # images at once

Finished = Callable[[Inverter, Inversion, PreparedPhoto], np.ndarray]  # the result for a part, uint8 [R, R, 3]


@dataclass(frozen=True, eq=False)
class Made:
    """What was made of a face, or of the middle square of a photo.

    Attributes:
        inversion: its codes.
        part: the part of the photo.
        image: the result, uint8 `[R, R, 3]`.
    """

    inversion: Inversion
    part: PreparedPhoto
    image: np.ndarray


def prepared(images: Any, reader: PhotoReader) -> list[list[PreparedPhoto]]:
    """Return the faces of each image, the largest first, or its middle square; see `pixels_of` for images."""
    pixels = pixels_of(images)
    if not pixels:
        raise UserError("there are no images; give one")
    return [reader.prepare_faces(photo, f"image {number}") for number, photo in enumerate(pixels)]


def made_of(images: Any, reader: PhotoReader, inverter: Inverter, finished: Finished) -> list[list[Made]]:
    """Return what `finished` makes of each face of each image, which are inverted some at a time."""
    photos = prepared(images, reader)
    parts = [part for found in photos for part in found]
    made: list[Made] = []
    for batch in (parts[first : first + BATCH] for first in range(0, len(parts), BATCH)):
        inversions = inverter.invert(torch.cat([part.target for part in batch]))
        made += [Made(*pair, finished(inverter, *pair)) for pair in zip(inversions, batch, strict=True)]
    rest = iter(made)
    return [[next(rest) for _ in found] for found in photos]


def with_results(inverter: Inverter, faces: Sequence[Made]) -> np.ndarray:
    """Return a photo with the results in their places, uint8 `[H, W, 3]`, as `qc-stylegan restore --paste-back`."""
    pasted = [face for number, face in enumerate(faces, 1) if not stays(inverter, face.inversion, face.part, number)]
    return paste_all(faces[0].part.photo, [face.image for face in pasted], [face.part.square for face in pasted])
