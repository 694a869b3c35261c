"""Square crops of photos, rotated and moved, and their affine maps."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms


@dataclass(frozen=True)
class Square:
    """A square in a photo, in pixels; pixel i covers i to i + 1, so the photo spans 0 to W and 0 to H.

    Attributes:
        x, y: position of the centre.
        side: length of a side; the square may extend beyond the photo.
        angle: clockwise rotation of the top edge in the photo, in radians.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    def matrix(self, size: float) -> np.ndarray:
        """Return the affine map `[2, 3]`, float64, from an image of this square with `size` pixels to the photo."""
        cos, sin = (self.side / size * part for part in (math.cos(self.angle), math.sin(self.angle)))
        middle = size / 2
        return np.array(
            [
                [cos, -sin, self.x - middle * (cos - sin)],
                [sin, cos, self.y - middle * (sin + cos)],
            ]
        )

    def corners(self) -> np.ndarray:
        """Return x and y of the corners `[4, 2]`: top left, top right, bottom right, bottom left of the cut image."""
        unit = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64)
        return unit @ self.matrix(1).T


def centre_square(photo: np.ndarray) -> Square:
    """Return the largest square in the middle of a photo `[H, W, 3]`, on whole pixels."""
    height, width = photo.shape[:2]
    side = min(height, width)
    return Square((width - side) // 2 + side / 2, (height - side) // 2 + side / 2, side)


def cut(photo: np.ndarray, square: Square, resolution: int | None = None) -> np.ndarray:
    """Return the part of a photo in the square, uint8 `[R, R, 3]`; without `resolution` R is the side of the square.

    The photo is mirrored beyond its borders. It is rotated and moved at its own scale by cubic interpolation, then
    resized by Lanczos, which averages where it shrinks. An upright square on whole pixels is copied.
    """
    own = max(1, math.ceil(square.side - 1e-6))
    image = cv2.warpAffine(
        photo,
        between_pixel_centres(square.matrix(own)),
        (own, own),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return resize(image, own if resolution is None else resolution)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Return uint8 `[size, size, 3]` of uint8 `[H, W, 3]`, or without channels, by Lanczos; an equal size is a copy."""
    return np.array(PIL.Image.fromarray(image).resize((size, size), PIL.Image.Resampling.LANCZOS))


def between_pixel_centres(matrix: np.ndarray) -> np.ndarray:
    """Convert an affine map `[2, 3]` of positions, where pixel i has its centre at i + 0.5, to one of pixel indices."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return shifted
