"""The results of a command for a photo: images of each face, strips, codes, and the photo with the faces in it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from images.figures import labelled_grid
from images.sheets import save_png
from inversion.photos.paste_back import enlarge, paste_all, scale_square
from inversion.photos.reader import PreparedPhoto
from inversion.photos.tasks import Pasting, PhotoTask
from inversion.tuned_weights import Inversion, save_inversion

CODES = "codes.safetensors"  # ending of the files of inversions, see PhotoTask.output


@dataclass(frozen=True, eq=False)
class Results:
    """What a command makes of a face, or of the middle square of a photo.

    Attributes:
        images: images, uint8 `[R, R, 3]`, by the folder that they are written to.
        columns: images of the strip for comparison by their titles; without any there is no strip.
        pasted: images that are pasted back into the photo, by the folder of the whole photo.
    """

    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    pasted: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FaceResults:
    """The results for a part of a photo.

    Attributes:
        task: names of its files.
        part: the part.
        inversion: codes of the part.
        results: what the command has made of them.
    """

    task: PhotoTask
    part: PreparedPhoto
    inversion: Inversion
    results: Results


def save_results(
    task: PhotoTask, faces: Sequence[FaceResults], pasting: Pasting, network: str | os.PathLike
) -> list[Path]:
    """Write the results for all parts of a photo; return the paths.

    Args:
        task: the photo.
        faces: parts of the photo, the largest first.
        pasting: how they come back into the photo.
        network: file of the network that the codes are for.
    """
    paths = []
    for face in faces:
        for kind, image in face.results.images.items():
            paths.append(_save(face.task, kind, image))
        if face.results.columns:
            paths.append(_save(face.task, "strip", make_strip(face.results.columns)))
        paths.append(face.task.output(CODES))
        save_inversion(paths[-1], face.inversion, network)
    if pasting.is_wanted:
        paths += [_save(task, kind, whole) for kind, whole in _wholes(task, faces, pasting).items()]
    return paths


def make_strip(images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return images uint8 `[R, R, 3]` side by side with their names above."""
    return labelled_grid(np.stack(list(images.values()))[None], [""], list(images))


def _wholes(task: PhotoTask, faces: Sequence[FaceResults], pasting: Pasting) -> dict[str, np.ndarray]:
    """Return the photo with the results in their places, by kind; where squares overlap, the largest face is on top."""
    photo = faces[0].part.photo
    background = photo if pasting.upscale is None else enlarge(photo, pasting.upscale, task.name)
    wholes: dict[str, np.ndarray] = {}
    for kind in dict.fromkeys(kind for face in faces for kind in face.results.pasted):
        there = [face for face in faces if kind in face.results.pasted]
        squares = [scale_square(face.part.square, photo, background) for face in there]
        wholes[kind] = paste_all(background, [face.results.pasted[kind] for face in there], squares)
    return wholes


def _save(task: PhotoTask, kind: str, image: np.ndarray) -> Path:
    path = task.output(f"{kind}.png")
    save_png(path, image)
    return path
