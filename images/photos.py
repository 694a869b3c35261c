"""Photos: files of any kind to upright RGB pixels, and square crops of them to the network and back."""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.limits import IMAGE_BYTES, METADATA_BYTES
from dnnlib.parsing import existing
from dnnlib.reading import open_file, read_json
from images.convert import gray_or_rgb_pixels
from images.decoding import UnreadableImageError, decode, image_errors
from images.listing import files_below, list_images, require_images
from images.origin import read_head
from images.ranges import from_levels, to_uint8
from images.squares import Square, centre_square, cut

MAX_SIDE = 32_766  # px; OpenCV's warps count in 16 bits


def photo_files(path: str | os.PathLike) -> list[Path]:
    """Return the path of a photo, or all photos below a folder in sorted order; see `images.listing` for what counts.

    Raises UserError when `path` does not exist, and for a folder without photos.
    """
    path = existing(path, "photo")
    if not path.is_dir():
        return [path]
    names, loops = files_below(path)
    listing = list_images(names, functools.partial(_json_or_none, path), lambda name: read_head(path / name), loops)
    require_images(listing, path, "photos")
    return [path / name for name in listing.images]


def _json_or_none(folder: Path, name: str) -> Any:
    try:
        return read_json(folder / name, METADATA_BYTES)
    except UserError:
        return None


def read_photo(path: str | os.PathLike, name: str | None = None) -> np.ndarray:
    """Return a photo as uint8 `[H, W, 3]`; see `read_gray_or_colour`."""
    pixels = read_gray_or_colour(path, name)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def read_gray_or_colour(path: str | os.PathLike, name: str | None = None) -> np.ndarray:
    """Return a photo as uint8 `[H, W, 3]`, or `[H, W, 1]` where it is gray: upright, in sRGB, in front of white.

    Of several frames the first is read; see `images.convert.gray_or_rgb_pixels`. Errors about what the file holds call
    it `name`, or by its path.

    Raises UnreadableImageError, a UserError of one sentence, for unreadable files, for more pixels than
    `dnnlib.limits.PIXELS` and for sides above MAX_SIDE.
    """
    path = existing(path, "photo")
    cure = "save it again as PNG or JPEG, or smaller"
    what = name or str(path)
    with image_errors(lambda: what, cure), open_file(path, IMAGE_BYTES, cure, UnreadableImageError) as file:
        pixels = gray_or_rgb_pixels(decode(file.read()))
    longest = max(pixels.shape[:2])
    if longest > MAX_SIDE:
        raise UnreadableImageError(f"{what} has a side of {longest} pixels, at most {MAX_SIDE} work; crop it")
    return pixels


def to_network(photo: np.ndarray, resolution: int, channels: int = 3, square: Square | None = None) -> Tensor:
    """Return a square crop of a photo as input of the network: float32 `[1, C, R, R]` in [-1, 1].

    Args:
        photo: uint8 `[H, W, 3]`.
        resolution: resolution R of the network.
        channels: 3, or 1 for a network of gray images, whose input is the luma of ITU-R 601.
        square: part of the photo to cut out; None means `centre_square`.
    """
    image = cut(photo, centre_square(photo) if square is None else square, resolution)
    return network_input(image, channels)


def network_input(image: np.ndarray, channels: int = 3) -> Tensor:
    """Return uint8 `[R, R, 3]` as float32 `[1, C, R, R]` in [-1, 1]."""
    if channels not in (1, 3):
        raise UserError(f"the network has images of {channels} channels, photos need 1 or 3; give another network")
    if channels == 1:
        image = np.array(PIL.Image.fromarray(image).convert("L"))[:, :, np.newaxis]
    return from_levels(torch.from_numpy(image).permute(2, 0, 1)[None])


def from_network(images: Tensor) -> np.ndarray:
    """Return float images `[N, 1 or 3, R, R]` in [-1, 1] as uint8 `[N, R, R, 3]`; values outside are clipped."""
    pixels = to_uint8(images.detach())
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
