"""Low resolution (super-resolution): shrink the image, then enlarge it to its old size."""

import cv2
import numpy as np

FAMILY = "compression"
FACTOR = (0.1, 0.9)
INTERPOLATIONS = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR}


def sample(rng: np.random.Generator, width: int, factor: tuple[float, float] = FACTOR) -> dict[str, float | str]:
    """Draw the factor, which is relative to `width` already, and one of the two interpolations that shrink photos."""
    interpolation = list(INTERPOLATIONS)[rng.integers(len(INTERPOLATIONS))]
    return {"factor": round(rng.uniform(*factor), 3), "interpolation": interpolation}


def apply(image: np.ndarray, rng: np.random.Generator, factor: float, interpolation: str) -> np.ndarray:
    """Shrink uint8 [H, W, C] to `factor` of its sides (1 px at least) and enlarge it bilinearly.

    "area" averages all pixels that fall into a small one; "bilinear" takes the four in its middle, so it leaves
    jagged edges at small factors.
    """
    assert 0 < factor <= 1, f"factor {factor} is not in (0, 1]"
    height, width = image.shape[:2]
    small_size = (small_side(width, factor), small_side(height, factor))
    small = cv2.resize(image, small_size, interpolation=INTERPOLATIONS[interpolation])
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)


def small_side(side: int, factor: float) -> int:
    """Return the number of pixels of a side after shrinking."""
    return max(round(side * factor), 1)
