"""Sheets: grids of images without gaps, and PNG files."""

import io
import math
import os

import numpy as np
from PIL import Image

from dnnlib.files import replace_file
from images.origin import DERIVED, mark


def save_png(path: str | os.PathLike, image: np.ndarray, distance: int = DERIVED) -> None:
    """Write a uint8 image `[H, W, 1 or 3]` as PNG in one step, with the mark of `images.origin`."""
    buffer = io.BytesIO()
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    picture.save(buffer, format="PNG", pnginfo=mark(distance))
    with replace_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Tile uint8 images `[N, H, W, C]` row by row into `[rows * H, columns * W, C]`; tiles left over stay white."""
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    tiles = np.full((rows * columns, height, width, channels), 255, np.uint8)
    tiles[:count] = images
    return tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2).reshape(rows * height, -1, channels)


def sheet_size(resolution: int) -> tuple[int, int]:
    """Return (columns, rows) of a sheet of images of this resolution that fills a screen."""
    return max(2, min(16, 2048 // resolution)), max(2, min(8, 1024 // resolution))
