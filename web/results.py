"""Results as files: PNG in the page's folder, each below a name that nobody can guess."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from images.figures import labelled_grid
from images.sheets import save_png
from web.open_photo import OpenPhoto
from web.samples import Sample
from web.studio import Look
from web.uploads import plain_stem


class Results:
    """Writes results.

    Args:
        folder: folder of the page's files; whoever serves the page removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_picture(self, photo: OpenPhoto, look: Look, image: np.ndarray) -> Path:
        """Write how a photo looks, uint8 `[H, W, 3]`, under the photo's name; return the path."""
        return self._write(f"{plain_stem(photo.name)}-{'restored' if look.is_restored else 'changed'}.png", image)

    def write_samples(self, samples: Sequence[Sample]) -> Path:
        """Write a figure of images from seeds, a row for each; return the path."""
        rows = np.stack([[sample.sharp, sample.degraded] for sample in samples])  # [N, 2, R, R, 3]
        labels = [f"seed {sample.seed}" for sample in samples]
        return self._write("seeds.png", labelled_grid(rows, labels, ["sharp", "degraded"]))

    def _write(self, name: str, image: np.ndarray) -> Path:
        path = self.folder / secrets.token_hex(16) / name
        path.parent.mkdir()
        save_png(path, image)
        return path
