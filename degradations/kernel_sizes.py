"""Sizes of blur kernels and separable filters of such sizes.

Images of 256 px have kernels of 3 to 31 px; other images have kernels scaled by their width. A size is a real number
wherever the filter allows it: at 64 px the range is 1.5 to 7.75 and contains only three odd sizes. A filter of size s
weighs the outermost pixels by the part of them that it covers, so box filters of 3, 3.5 and 4.1 px are three different
filters, and an odd size gives the usual one.
"""

import math

import cv2
import numpy as np

Sizes = tuple[float, float]

REFERENCE_WIDTH = 256
REFERENCE_SIZES: Sizes = (3, 31)  # px
SMALLEST_SIZE = 1.5  # px; a filter of 1 px or less changes nothing, so the range starts where blur begins to show
LARGEST_MEDIAN = 255  # px; the largest window of OpenCV's median filter


def size_range(width: int, sizes: Sizes = REFERENCE_SIZES, widest: int | None = None) -> tuple[float, float]:
    """Return the smallest and the largest kernel size, in pixels, for images of this width.

    `sizes` are those at 256 px. 3 to 31 there are 1.5 to 7.75 at 64; images wider than `widest`, if given, have the
    sizes of that width. The bounds meet where images are too small to leave a choice; below 3 px
    of width there is nothing to blur and the size is 1.
    """
    assert width >= 1, f"width {width} is not positive"
    if width < 3:
        return 1.0, 1.0
    scaled_width = width if widest is None else min(width, widest)
    low, high = (round(size * scaled_width / REFERENCE_WIDTH, 2) for size in sizes)
    low = max(low, SMALLEST_SIZE)
    return low, max(low, high)


def draw_size(rng: np.random.Generator, width: int, sizes: Sizes = REFERENCE_SIZES, widest: int | None = None) -> float:
    """Draw a kernel size uniformly from `size_range`, in hundredths of a pixel."""
    return round(rng.uniform(*size_range(width, sizes, widest)), 2)


def draw_odd_size(
    rng: np.random.Generator, width: int, sizes: Sizes = REFERENCE_SIZES, widest: int | None = None
) -> int:
    """Draw uniformly from the odd sizes within `size_range`; 3, the smallest filter, when there is none in it."""
    if width < 3:
        return 1
    low, high = (min(bound, LARGEST_MEDIAN) for bound in size_range(width, sizes, widest))
    first, last = 2 * math.ceil((low - 1) / 2) + 1, 2 * math.floor((high - 1) / 2) + 1
    choices = max((last - first) // 2 + 1, 1)
    return first + 2 * int(rng.integers(choices))


def taps_for(size: float) -> int:
    """Return the odd number of taps that covers `size` pixels around the middle of a pixel."""
    return 2 * math.ceil((size - 1) / 2) + 1


def check_size(size: float, image: np.ndarray) -> None:
    """Assert that a kernel fits into an image [H, W, C]."""
    side = min(image.shape[:2])
    assert 1 <= size <= side, f"kernel size {size} is not in [1, {side}], the shorter side of the image"


def convolve_separable(image: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Filter uint8 [H, W, C] with symmetric `taps` that sum to 1, along both axes.

    The image is mirrored at its borders, edge pixel included: then every pixel spreads a total weight of 1 and
    the mean brightness stays.
    """
    return cv2.sepFilter2D(image, -1, taps, taps, borderType=cv2.BORDER_REFLECT).reshape(image.shape)
