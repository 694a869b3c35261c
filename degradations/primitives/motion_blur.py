"""Motion blur: the camera moves along a straight line while the shutter is open."""

import cv2
import numpy as np

from degradations.kernel_sizes import REFERENCE_SIZES, Sizes, check_size, draw_size, taps_for

FAMILY = "blur"
POINTS_PER_PIXEL = 32  # sampling density of the line


def sample(
    rng: np.random.Generator, width: int, sizes: Sizes = REFERENCE_SIZES, widest: int | None = None
) -> dict[str, float]:
    """Draw the length of the line in pixels and its angle in degrees, counter-clockwise from the horizontal."""
    return {"size": draw_size(rng, width, sizes, widest), "angle": round(rng.uniform(0, 180), 1)}


def apply(image: np.ndarray, rng: np.random.Generator, size: float, angle: float) -> np.ndarray:
    """Blur uint8 [H, W, C] along a line of `size` px."""
    check_size(size, image)
    kernel = line_kernel(size, angle)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT).reshape(image.shape)


def line_kernel(size: float, angle: float) -> np.ndarray:
    """Return a kernel float32 [taps, taps]: each pixel has the share of the line that runs through it.

    The line is centred, so the kernel is symmetric about its middle and the picture stays in place.
    """
    taps = taps_for(size)
    steps = line_steps(size)
    along = ((np.arange(steps) + 0.5) / steps - 0.5) * size  # [steps]
    radians = np.deg2rad(angle)
    columns = np.rint(along * np.cos(radians)).astype(np.intp) + taps // 2
    rows = np.rint(along * -np.sin(radians)).astype(np.intp) + taps // 2  # image rows run downwards
    counts = np.bincount(rows * taps + columns, minlength=taps * taps)
    return (counts / steps).astype(np.float32).reshape(taps, taps)


def line_steps(size: float) -> int:
    """Return how many points a line of `size` px has."""
    return max(round(size * POINTS_PER_PIXEL), 1)
