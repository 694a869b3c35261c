"""Box blur: the mean of a square window."""

import numpy as np

from degradations.kernel_sizes import REFERENCE_SIZES, Sizes, check_size, convolve_separable, draw_size, taps_for

FAMILY = "blur"


def sample(
    rng: np.random.Generator, width: int, sizes: Sizes = REFERENCE_SIZES, widest: int | None = None
) -> dict[str, float]:
    """Draw the side of the window, in pixels."""
    return {"size": draw_size(rng, width, sizes, widest)}


def apply(image: np.ndarray, rng: np.random.Generator, size: float) -> np.ndarray:
    """Blur uint8 [H, W, C] by a window of `size` x `size` px, whose border pixels are weighed by the part inside."""
    check_size(size, image)
    return convolve_separable(image, box_taps(size))


def box_taps(size: float) -> np.ndarray:
    """Return the window along one axis: float32 [taps] that sum to 1."""
    taps = np.ones(taps_for(size), np.float32)
    if len(taps) > 1:
        taps[[0, -1]] -= (len(taps) - size) / 2
    return taps / taps.sum()
