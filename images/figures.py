"""Figures: images in rows and columns with labels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dnnlib.errors import UserError
from images.sheets import sheet

MIN_TILE = 96  # pixels; labels of smaller images are not legible
GAP = 4  # pixels between images
MAX_SIDE = 32767  # pixels; many programs cannot show larger images
INK, PAPER = 0, 255


def enlarge(images: np.ndarray) -> np.ndarray:
    """Repeat the pixels of uint8 images `[..., H, W, C]` by the least whole factor that gives `MIN_TILE` pixels."""
    factor = _scale_factor(min(images.shape[-3:-1]))
    return images.repeat(factor, axis=-3).repeat(factor, axis=-2)


def check_grid_size(rows: int, columns: int, resolution: int) -> None:
    """Raise UserError when a figure of so many images would be too large to be shown."""
    tile = resolution * _scale_factor(resolution) + GAP
    if max(rows, columns) * tile > MAX_SIDE - tile:
        raise UserError(
            f"a figure of {rows} rows and {columns} columns would be {columns * tile} x {rows * tile} pixels, "
            f"and {MAX_SIDE} are the most; take fewer seeds, qualities or steps"
        )


def labelled_grid(images: np.ndarray, row_labels: Sequence[str], column_labels: Sequence[str]) -> np.ndarray:
    """Return a figure with a label left of each row and above each column.

    Args:
        images: uint8 `[rows, columns, H, W, C]`; small ones are enlarged.
        row_labels, column_labels: one label a row or column; a label that is too long is shortened.

    Returns: uint8 `[height, width, C]`, black on white.
    """
    rows, columns = images.shape[:2]
    assert (rows, columns) == (len(row_labels), len(column_labels)), f"labels do not fit {rows} x {columns} images"
    tiles = enlarge(images)  # [rows, columns, H', W', C]
    tiles = np.pad(tiles, ((0, 0), (0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=PAPER)
    body = sheet(tiles.reshape(-1, *tiles.shape[2:]), columns)
    height, width = tiles.shape[2:4]
    font = ImageFont.load_default(size=max(14, width // 12))
    assert isinstance(font, ImageFont.FreeTypeFont), "a font of a given size"
    left_labels = [_render_text(text, font, 2 * width, None, height) for text in row_labels]
    top_labels = [_render_text(text, font, width, width, None) for text in column_labels]
    margin = max(label.shape[1] for label in left_labels)
    left = np.concatenate([_pad_left(label, margin) for label in left_labels])  # [height of the body, margin]
    corner = np.full((len(top_labels[0]), margin), PAPER, np.uint8)
    top = np.concatenate([corner, *top_labels], axis=1)  # [height of a label, margin + width of the body]
    figure = np.full((len(top) + len(body) + GAP, top.shape[1] + GAP, body.shape[2]), PAPER, np.uint8)
    figure[: len(top), : top.shape[1]] = top[:, :, None]
    figure[len(top) : -GAP, :margin] = left[:, :, None]
    figure[len(top) : -GAP, margin:-GAP] = body
    return figure


def _scale_factor(resolution: int) -> int:
    """Return the least factor that enlarges an image to `MIN_TILE` pixels."""
    return -(-MIN_TILE // resolution)


def _render_text(
    text: str, font: ImageFont.FreeTypeFont, limit: int, width: int | None, height: int | None
) -> np.ndarray:
    """Return `text`, at most `limit` pixels wide, in the middle of uint8 `[height, width]`; None fits the text."""
    padding = round(font.size / 2)
    text = _shorten(text, font, limit - padding)
    ascent, descent = font.getmetrics()
    width = width or round(font.getlength(text)) + 2 * padding
    height = height or ascent + descent + padding
    image = Image.new("L", (width, height), PAPER)
    ImageDraw.Draw(image).text((width / 2, height / 2), text, fill=INK, font=font, anchor="mm")
    return np.asarray(image)


def _shorten(text: str, font: ImageFont.FreeTypeFont, limit: int) -> str:
    if font.getlength(text) <= limit:
        return text
    ends = (f"{text[:length]}.." for length in range(len(text) - 1, 0, -1))
    return next((end for end in ends if font.getlength(end) <= limit), "..")


def _pad_left(label: np.ndarray, width: int) -> np.ndarray:
    return np.pad(label, ((0, 0), (width - label.shape[1], 0)), constant_values=PAPER)
