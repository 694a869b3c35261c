"""The sheet of a track and method: some photos, each sharp, degraded, reconstructed and restored."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from images.figures import labelled_grid

SHEET_COLUMNS = ("sharp", "degraded", "reconstruction", "restored")

Images = dict[str, Tensor]  # uint8 [N, C, R, R] by SHEET_COLUMNS; some methods have no reconstruction


class _Photo(NamedTuple):
    name: str
    gain: float
    images: Images  # uint8 [C, R, R]


class RestorationSheet:
    """The photos of a sheet, chosen while they are restored, so that only its rows are kept.

    Args:
        rows: number of photos.
        extremes: half of the rows are the photos that gain most by restoring, half those that gain least or lose,
            from the best to the worst; False: the rows are the first photos.
    """

    def __init__(self, rows: int, extremes: bool = False) -> None:
        self.rows = rows
        self.extremes = extremes
        self._photos: list[_Photo] = []

    def add(self, names: Sequence[str], images: Images, gains: Sequence[float]) -> None:
        """Offer a batch of photos; `gains` tell how much nearer to the sharp photo restoring has brought each."""
        for number, (name, gain) in enumerate(zip(names, gains, strict=True)):
            # Copies, as a part of a batch would keep all of it.
            self._photos.append(_Photo(name, gain, {form: batch[number].clone() for form, batch in images.items()}))
        if not self.extremes:
            self._photos = self._photos[: self.rows]
            return
        self._photos.sort(key=lambda photo: -photo.gain)
        worst = self.rows // 2
        if len(self._photos) > self.rows:
            self._photos = self._photos[: self.rows - worst] + self._photos[len(self._photos) - worst :]

    def draw(self) -> np.ndarray:
        """Return the sheet, uint8 `[H, W, C]`."""
        shown = [form for form in SHEET_COLUMNS if form in self._photos[0].images]
        rows = [torch.stack([photo.images[form] for form in shown]) for photo in self._photos]
        tiles = torch.stack(rows).permute(0, 1, 3, 4, 2).numpy()  # [rows, 3 or 4, R, R, C]
        return labelled_grid(tiles, [self._label(photo) for photo in self._photos], shown)

    def _label(self, photo: _Photo) -> str:
        return f"{photo.name} {photo.gain:+.2f}" if self.extremes else photo.name
