"""Median filter: it keeps edges and wipes out fine texture, like a denoiser that is set too strong."""

import cv2
import numpy as np

from degradations.kernel_sizes import LARGEST_MEDIAN, REFERENCE_SIZES, Sizes, check_size, draw_odd_size

FAMILY = "blur"


def sample(
    rng: np.random.Generator, width: int, sizes: Sizes = REFERENCE_SIZES, widest: int | None = None
) -> dict[str, int]:
    """Draw the side of the window, an odd number of pixels; a median has no sizes in between."""
    return {"size": draw_odd_size(rng, width, sizes, widest)}


def apply(image: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Replace each value of uint8 [H, W, C] by the median of its channel in the window around it."""
    check_size(size, image)
    assert size % 2 == 1 and size <= LARGEST_MEDIAN, f"size {size} is not an odd number up to {LARGEST_MEDIAN}"
    return cv2.medianBlur(image, size).reshape(image.shape)
