"""Restored photos that other programs have written, from the inputs of `calc_metrics.py degrade-set`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import sha256
from evaluation.photo_sets import DegradedPhotos
from evaluation.restorers.restorer import RestoredPhotos, Restorer
from images.listing import EXTENSIONS
from images.photos import read_gray_or_colour


class OtherResults(Restorer):
    """The photos in a folder with a folder for each track, named as `degrade-set` names them, with any ending.

    Args:
        name: name of the method.
        folder: folder with `TRACK/NAME.png`.
    """

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folder = Path(folder)

    def settings(self, photos: DegradedPhotos) -> dict[str, Any]:
        found = self._files(photos)
        return {"results": {name: sha256(found[name]) for name in photos.file_names[: len(photos)]}}

    def describe(self) -> str:
        return f"the photos in {self.folder}"

    def check(self, photos: DegradedPhotos) -> None:
        """Raise UserError for a photo that is missing or damaged, has another name, or another size."""
        side = photos.dataset.resolution
        found = self._files(photos)
        wanted = photos.file_names[: len(photos)]
        missing = [name for name in wanted if name not in found]
        if missing:
            strange = sorted(found.keys() - set(photos.file_names))
            instead = f", but {found[strange[0]].name}, which is none of the photos" if strange else ""
            raise UserError(
                f"--results={self.name}: {self.folder / photos.track} has no {missing[0]}.png ({len(missing)} of "
                f"{len(photos)} are missing){instead}; name each result as its input of `calc_metrics.py degrade-set`"
            )
        for name in wanted:
            height, width = read_gray_or_colour(found[name]).shape[:2]
            if (height, width) != (side, side):
                raise UserError(
                    f"--results={self.name}: {found[name]} has {width}x{height} pixels, its photo has {side}x{side}; "
                    "give results of the photos' size"
                )

    def restore(self, photos: DegradedPhotos, numbers: Sequence[int], degraded: Tensor) -> RestoredPhotos:
        found = self._files(photos)
        names = [photos.file_names[number] for number in numbers]
        images = [_with_channels(read_gray_or_colour(found[name]), photos.dataset.channels) for name in names]
        return RestoredPhotos(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))

    def _files(self, photos: DegradedPhotos) -> dict[str, Path]:
        """Return the files of a track by their names without endings; what they are made of has no effect here."""
        folder = self.folder / photos.track
        if not folder.is_dir():
            raise UserError(
                f"--results={self.name}: there is no folder {folder}; put the results of each track into one of that "
                "name, or choose tracks with --track"
            )
        paths = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(EXTENSIONS)]
        return {path.stem: path for path in paths if not path.name.startswith(".")}


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Return uint8 `[H, W, 1 or 3]` with so many channels; colour becomes the luma of ITU-R 601."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.array(PIL.Image.fromarray(pixels).convert("L"))[:, :, np.newaxis]
