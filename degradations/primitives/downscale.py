"""Low resolution (super-resolution): shrink the image, then enlarge it to its old size."""

import cv2
import numpy as np

FAMILY = "compression"
FACTOR = (0.1, 0.9)
INTERPOLATIONS = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}
SMOOTH = ("area", "bilinear")  # those of training


def sample(
    rng: np.random.Generator,
    width: int,
    factor: tuple[float, float] = FACTOR,
    interpolations: tuple[str, ...] = SMOOTH,
) -> dict[str, float | str]:
    """Draw the factor, which is relative to `width` already, and one of the interpolations that shrink photos."""
    interpolation = interpolations[rng.integers(len(interpolations))]
    return {"factor": round(rng.uniform(*factor), 3), "interpolation": interpolation}


def apply(image: np.ndarray, rng: np.random.Generator, factor: float, interpolation: str) -> np.ndarray:
    """Shrink uint8 [H, W, C] to `factor` of its sides (1 px at least) and enlarge it again.

    "area" averages all pixels that fall into a small one; "bilinear" takes the four in its middle, so it leaves
    jagged edges at small factors; both enlarge bilinearly. "nearest" takes one pixel, and enlarges it to a block.
    """
    assert 0 < factor <= 1, f"factor {factor} is not in (0, 1]"
    height, width = image.shape[:2]
    small_size = (small_side(width, factor), small_side(height, factor))
    small = cv2.resize(image, small_size, interpolation=INTERPOLATIONS[interpolation])
    enlarge = cv2.INTER_NEAREST if interpolation == "nearest" else cv2.INTER_LINEAR
    return cv2.resize(small, (width, height), interpolation=enlarge).reshape(image.shape)


def small_side(side: int, factor: float) -> int:
    """Return the number of pixels of a side after shrinking."""
    return max(round(side * factor), 1)
