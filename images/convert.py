"""Conversion of any image to 8-bit gray or RGB, and crops and sizes of data sets."""

from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageOps

from dnnlib.errors import UserError
from images.profiles import to_srgb

WHITE = (255, 255, 255)
FILTERS = {name: PIL.Image.Resampling[name.upper()] for name in ("box", "bilinear", "hamming", "bicubic", "lanczos")}
CROPS = ("none", "center", "center-wide")
WIDE = 4 / 3

Box = tuple[int, int, int, int]


def to_gray_or_rgb(image: PIL.Image.Image, background: tuple[int, int, int] = WHITE) -> PIL.Image.Image:
    """Return the upright image in mode L or RGB, sRGB, with `background` behind transparent pixels.

    This is how all commands see a photo. 16-bit gray is scaled to 8 bits; CMYK, YCbCr, LAB, HSV and palettes become
    RGB; a colour profile is converted to sRGB where Pillow can, and otherwise ignored. Raises ValueError for floats and
    32-bit integers, whose range is unknown.
    """
    image = to_srgb(PIL.ImageOps.exif_transpose(image))
    if image.mode.startswith("I"):
        return _to_eight_bits(image)
    if image.mode == "F":
        raise ValueError("its pixels are floats, and 8 or 16 bits are needed")
    if image.has_transparency_data:
        return _compose(image.convert("RGBA"), background, is_gray=image.mode in ("1", "L", "LA", "La"))
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def gray_or_rgb_pixels(image: PIL.Image.Image) -> np.ndarray:
    """Return an image as people see it, in front of white, uint8 `[H, W, 1]` where it is gray, else `[H, W, 3]`.

    Raises ValueError as `to_gray_or_rgb` does.
    """
    pixels = np.array(to_gray_or_rgb(image))
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def _compose(image: PIL.Image.Image, background: tuple[int, int, int], is_gray: bool) -> PIL.Image.Image:
    """Return an RGBA image in front of a background, in mode L where both are gray, else RGB."""
    scene = PIL.Image.new("RGBA", image.size, (*background, 255))
    scene.alpha_composite(image)
    return scene.convert("L" if is_gray and len(set(background)) == 1 else "RGB")


def _to_eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels are of {values.min()}..{values.max()}, and 8 or 16 bits are needed")
    return PIL.Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 = 257 * 255


@dataclass(frozen=True)
class Shape:
    """How an image is cropped and resized to a square.

    Attributes:
        resolution: side of the square; None keeps the size of the crop.
        crop: one of `CROPS`.
        filter: key of `FILTERS`, used for resizing.
    """

    resolution: int | None
    crop: str
    filter: str

    def apply(self, image: PIL.Image.Image, what: str) -> PIL.Image.Image:
        """Return the square image; raise UserError when it is not square and `crop` is "none"."""
        box = _box(image.size, self.crop)
        width, height = box[2] - box[0], box[3] - box[1]
        if self.crop == "none" and width != height:
            raise UserError(f"{what} has {image.width}x{image.height} pixels, not a square; pass --crop=center")
        side = self.resolution or width
        size = (side, round(side / WIDE) if self.crop == "center-wide" else side)
        if size != image.size:
            image = image.resize(size, FILTERS[self.filter], box=box)
        if size[0] == size[1]:
            return image
        square = PIL.Image.new(image.mode, (side, side))  # black above and below a wide image
        square.paste(image, (0, (side - size[1]) // 2))
        return square

    def enlarges(self, size: tuple[int, int]) -> bool:
        """Return whether an image of this width and height has fewer pixels than the result."""
        left, _, right, _ = _box(size, self.crop)
        return self.resolution is not None and right - left < self.resolution


def _box(size: tuple[int, int], crop: str) -> Box:
    """Return left, top, right, bottom of the largest part in the middle with the proportions of `crop`."""
    if crop == "none":
        return (0, 0, *size)
    ratio = WIDE if crop == "center-wide" else 1
    width = round(min(size[0], size[1] * ratio))
    height = round(width / ratio)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height
