"""Figures: images in rows and columns with what they are written beside them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dnnlib.errors import UserError
from images.sheets import sheet

MIN_TILE = 96  # pixels; below, labels are not legible
GAP = 4  # pixels between images
MAX_SIDE = 32767  # pixels; many programs show nothing larger
INK, PAPER = 0, 255


def enlarge(images: np.ndarray) -> np.ndarray:
    """Repeat the pixels of uint8 images `[..., H, W, C]` by the least whole factor that gives `MIN_TILE` pixels."""
    factor = _factor(min(images.shape[-3:-1]))
    return images.repeat(factor, axis=-3).repeat(factor, axis=-2)


def check_grid_size(rows: int, columns: int, resolution: int) -> None:
    """Raise UserError when a figure of so many images would be too large to be looked at."""
    tile = resolution * _factor(resolution) + GAP
    if max(rows, columns) * tile > MAX_SIDE - tile:
        raise UserError(
            f"a figure of {rows} rows and {columns} columns would be {columns * tile} x {rows * tile} pixels, "
            f"and {MAX_SIDE} are the most; take fewer seeds, qualities or steps"
        )


def labelled_grid(images: np.ndarray, row_labels: Sequence[str], column_labels: Sequence[str]) -> np.ndarray:
    """Return a figure with a label left of each row and above each column.

    Args:
        images: uint8 `[rows, columns, H, W, C]`; small ones are enlarged.
        row_labels, column_labels: one each; a label too long for its place is shortened.

    Returns: uint8 `[height, width, C]`, black on white.
    """
    rows, columns = images.shape[:2]
    assert (rows, columns) == (len(row_labels), len(column_labels)), f"labels do not fit {rows} x {columns} images"
    tiles = enlarge(images)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=PAPER)
    body = sheet(tiles.reshape(-1, *tiles.shape[2:]), columns)
    height, width = tiles.shape[2:4]
    font = ImageFont.load_default(size=max(14, width // 12))
    left = [_drawn(text, font, 2 * width, None, height) for text in row_labels]
    top = [_drawn(text, font, width, width, None) for text in column_labels]
    margin = max(label.shape[1] for label in left)
    left = np.concatenate([_pad_left(label, margin) for label in left])
    top = np.concatenate([np.full((len(top[0]), margin), PAPER, np.uint8), *top], axis=1)
    figure = np.full((len(top) + len(body) + GAP, top.shape[1] + GAP, body.shape[2]), PAPER, np.uint8)
    figure[: len(top), : top.shape[1]] = top[:, :, None]
    figure[len(top) : -GAP, :margin] = left[:, :, None]
    figure[len(top) : -GAP, margin:-GAP] = body
    return figure


def _factor(resolution):
    return -(-MIN_TILE // resolution)


def _drawn(text, font, limit, width, height):
    """Return `text`, at most `limit` pixels wide, in the middle of `[height, width]`; None: as large as it needs."""
    padding = round(font.size / 2)
    text = _shortened(text, font, limit - padding)
    ascent, descent = font.getmetrics()
    width = width or round(font.getlength(text)) + 2 * padding
    height = height or ascent + descent + padding
    image = Image.new("L", (width, height), PAPER)
    ImageDraw.Draw(image).text((width / 2, height / 2), text, fill=INK, font=font, anchor="mm")
    return np.asarray(image)


def _shortened(text, font, limit):
    if font.getlength(text) <= limit:
        return text
    ends = (f"{text[:length]}.." for length in range(len(text) - 1, 0, -1))
    return next((end for end in ends if font.getlength(end) <= limit), "..")


def _pad_left(label, width):
    return np.pad(label, ((0, 0), (width - label.shape[1], 0)), constant_values=PAPER)
