"""Checks of the arguments of degradations: the image and the random generator."""

import numpy as np

from dnnlib.errors import UserError

MAX_SIDE = 65_500  # no JPEG file has longer sides


def check_arguments(image: np.ndarray, rng: np.random.Generator) -> None:
    """Raise unless `image` is uint8 [H, W, 3] (RGB) or [H, W, 1] (gray) in [0, 255], not empty, and `rng` a Generator.

    Another type or layout is a mistake of the calling code (AssertionError); a photo with a side beyond MAX_SIDE can be
    corrected by the user (UserError).
    """
    assert isinstance(image, np.ndarray), f"the image is a {type(image).__name__}; degradations take numpy arrays"
    assert image.dtype == np.uint8, f"the image is {image.dtype}; degradations take uint8 in [0, 255]"
    assert image.ndim == 3 and image.shape[2] in (1, 3), f"the image is {list(image.shape)}, not [H, W, 1 or 3]"
    assert image.size > 0, f"the image is empty: {list(image.shape)}"
    assert isinstance(rng, np.random.Generator), f"rng is a {type(rng).__name__}, not a numpy.random.Generator"
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise UserError(f"the photo is {width}x{height}; the longest side allowed is {MAX_SIDE}, so shrink it first")


def shorter_side(image: np.ndarray) -> int:
    """Return the width that scales the kernels: the shorter side, so that no kernel is larger than an oblong photo."""
    return min(image.shape[:2])
