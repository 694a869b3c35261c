"""Gaussian blur, as of a lens that is slightly out of focus."""

import cv2
import numpy as np

from degradations.kernel_sizes import REFERENCE_SIZES, Sizes, check_size, convolve_separable, draw_size, taps_for

FAMILY = "blur"


def sample(
    rng: np.random.Generator, width: int, sizes: Sizes = REFERENCE_SIZES, widest: int | None = None
) -> dict[str, float]:
    """Draw the kernel size; sigma follows from it by OpenCV's rule, 0.8 px for a size of 3 and 5 px for 31."""
    size = draw_size(rng, width, sizes, widest)
    return {"size": size, "sigma": round(0.15 * size + 0.35, 3)}


def apply(image: np.ndarray, rng: np.random.Generator, size: float, sigma: float) -> np.ndarray:
    """Blur uint8 [H, W, C] by a Gaussian of `sigma` px, cut off where `size` px are covered."""
    check_size(size, image)
    assert sigma > 0, f"sigma {sigma} is not positive"
    return convolve_separable(image, cv2.getGaussianKernel(taps_for(size), sigma, cv2.CV_32F))
