"""Paste back: a restored square into the photo that it was cut from, with a soft edge."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import PIL.Image

from dnnlib.errors import UserError
from dnnlib.limits import PIXELS
from images.photos import MAX_SIDE
from images.squares import Square, between_pixel_centres, resize

FEATHER = 0.08  # width of the soft edge, in sides of the square


def paste_back(photo: np.ndarray, image: np.ndarray, square: Square, feather: float = FEATHER) -> np.ndarray:
    """Return the photo with `image` in place of what `cut(photo, square)` showed.

    Within `feather` of the square's edge the two are mixed, and outside the square every pixel is as before. Colours
    are not adjusted. With the square's own pixels as `image`, nothing changes except by rounding and resampling.

    Args:
        photo: photo, uint8 `[H, W, 3]`.
        image: image of the square, uint8 `[R, R, 3]`, any R.
        square: position of the image in the photo; the part beyond the photo is dropped.
        feather: width of the soft edge, in sides of the square: above 0, and at most 0.5.
    """
    assert 0 < feather <= 0.5, f"feather {feather} is not in (0, 0.5]"
    left, top, region = pasted_region(photo, image, square, feather)
    pasted = photo.copy()
    pasted[top : top + region.shape[0], left : left + region.shape[1]] = region
    return pasted


def paste_all(
    photo: np.ndarray, images: Sequence[np.ndarray], squares: Sequence[Square], feather: float = FEATHER
) -> np.ndarray:
    """Return the photo with several images in their squares; where those overlap, the first one is on top."""
    for image, square in reversed(list(zip(images, squares, strict=True))):
        photo = paste_back(photo, image, square, feather)
    return photo


def pasted_region(
    photo: np.ndarray, image: np.ndarray, square: Square, feather: float = FEATHER
) -> tuple[int, int, np.ndarray]:
    """Return the part of `paste_back`'s result that the square touches: left, top, and uint8 `[h, w, 3]`."""
    left, top, right, bottom = _bounds(square, photo.shape[:2])
    if left >= right or top >= bottom:
        return 0, 0, photo[:0, :0]
    own = max(1, math.ceil(square.side - 1e-6))  # side at the photo's scale: the warp neither shrinks nor enlarges
    matrix = square.matrix(own)
    matrix[:, 2] -= left, top
    size = right - left, bottom - top
    warped = cv2.warpAffine(
        resize(image, own),
        between_pixel_centres(matrix),
        size,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)  # [h, w, 3], the part of the photo that the square touches
    mask = soft_mask(matrix, own, size, feather)[:, :, np.newaxis]  # [h, w, 1]
    region = photo[top:bottom, left:right]
    mixed = region + mask * (warped - region)  # float32 [h, w, 3]
    return left, top, np.rint(mixed).clip(0, 255).astype(np.uint8)


def enlarge(photo: np.ndarray, factor: float, name: str) -> np.ndarray:
    """Return a photo, uint8 `[H, W, 3]`, with `factor` times its width and height, by Lanczos.

    Raises UserError, which calls it `name`, where that would be more pixels than files may have.
    """
    height, width = (max(1, round(side * factor)) for side in photo.shape[:2])
    if width * height > PIXELS or max(width, height) > MAX_SIDE:
        raise UserError(
            f"{name} would have {width}x{height} pixels, at most {PIXELS / 1e6:.0f} megapixels and {MAX_SIDE} a side "
            f"work; give a smaller --upscale than {factor:g}"
        )
    return np.array(PIL.Image.fromarray(photo).resize((width, height), PIL.Image.Resampling.LANCZOS))


def scale_square(square: Square, photo: np.ndarray, whole: np.ndarray) -> Square:
    """Return a square of a photo as a square of the same photo at another size."""
    across, down = (whole.shape[side] / photo.shape[side] for side in (1, 0))  # equal but for whole pixels
    return Square(square.x * across, square.y * down, square.side * math.sqrt(across * down), square.angle)


def soft_mask(matrix: np.ndarray, side: float, size: tuple[int, int], feather: float) -> np.ndarray:
    """Return float32 `[H, W]`: 0 outside a square, 1 deeper in it than `feather`, half a cosine between.

    Args:
        matrix: affine map `[2, 3]` from positions in the square, 0 to `side`, to positions in the mask.
        side: side of the square.
        size: width and height of the mask.
        feather: width of the soft edge, in sides of the square.
    """
    x = np.arange(size[0]) + 0.5  # [W]
    y = np.arange(size[1])[:, np.newaxis] + 0.5  # [H, 1]
    u, v = (a * x + b * y + c for a, b, c in cv2.invertAffineTransform(matrix))  # [H, W] each
    depth = np.minimum(np.minimum(u, side - u), np.minimum(v, side - v)) / side  # [H, W]
    ramp = (depth / feather).clip(0, 1).astype(np.float32)  # [H, W]
    return 0.5 - 0.5 * np.cos(np.float32(np.pi) * ramp)


def _bounds(square: Square, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the pixels that a square touches in a photo of `shape`, height and width."""
    low = np.floor(square.corners().min(0))  # [2]
    high = np.ceil(square.corners().max(0))  # [2]
    left, top = (int(number) for number in np.maximum(low, 0))
    right, bottom = (int(number) for number in np.minimum(high, shape[::-1]))
    return left, top, right, bottom
