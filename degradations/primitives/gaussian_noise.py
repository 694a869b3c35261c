"""Gaussian noise, as of a sensor in poor light: independent in every pixel and channel."""

import numpy as np

FAMILY = "noise"
VARIANCE = (10.0, 650.0)  # range of the variance, on the 0..255 scale


def sample(rng: np.random.Generator, width: int, variance: tuple[float, float] = VARIANCE) -> dict[str, float]:
    """Draw the variance; noise is per pixel, so `width` does not matter."""
    return {"variance": round(rng.uniform(*variance), 2)}


def apply(image: np.ndarray, rng: np.random.Generator, variance: float) -> np.ndarray:
    """Add noise of this variance to uint8 [H, W, C], then round and clip to [0, 255]."""
    assert variance >= 0, f"variance {variance} is negative"
    noisy = rng.standard_normal(image.shape, dtype=np.float32)  # [H, W, C]
    noisy *= variance**0.5
    noisy += image
    np.rint(noisy, out=noisy)
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)
