"""JPEG: blocks of 8x8 pixels, ringing at edges, and colour at half the resolution."""

import cv2
import numpy as np

FAMILY = "compression"
QUALITY = (30, 50)


def sample(rng: np.random.Generator, width: int, quality: tuple[int, int] = QUALITY) -> dict[str, int]:
    """Draw the quality; blocks are 8x8 at any `width`."""
    return {"quality": int(rng.integers(quality[0], quality[1] + 1))}


def apply(image: np.ndarray, rng: np.random.Generator, quality: int) -> np.ndarray:
    """Encode uint8 [H, W, C] as JPEG of this quality (1 to 100; colour subsampled 4:2:0) and decode it."""
    assert 1 <= quality <= 100, f"JPEG quality {quality} is not in [1, 100]"
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    if image.shape[2] == 1:
        return _code(image, options, cv2.IMREAD_GRAYSCALE).reshape(image.shape)
    # OpenCV takes the first channel for blue; JPEG treats blue and red differently.
    bgr = _code(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options, cv2.IMREAD_COLOR)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _code(image: np.ndarray, options: list[int], mode: int) -> np.ndarray:
    """Return what is left of an image after encoding and decoding."""
    decoded = cv2.imdecode(cv2.imencode(".jpg", image, options)[1], mode)
    assert decoded is not None, "OpenCV cannot decode its own JPEG file"
    return decoded
