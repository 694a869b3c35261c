"""Photos sharpened as if a Gaussian had blurred them: Wiener's filter, and the iterations of Richardson and Lucy.

Their constants are the best of a few on 30 training photos of 64 px. There the two are alike.
"""

import cv2
import numpy as np

from degradations.kernel_sizes import size_range

NOISE_TO_SIGNAL = 0.05  # of Wiener's filter: with less, ringing is worse than blur
ITERATIONS = 5  # of Richardson and Lucy, for the same reason


def blur_size(width: int) -> float:
    """Return the size of the kernel that a blurred photo is taken to have, in pixels: a third of training's range."""
    low, high = size_range(width)
    return low + (high - low) / 3


def wiener(image: np.ndarray, size: float) -> np.ndarray:
    """Return uint8 `[H, W, C]` sharpened by Wiener's filter for a Gaussian whose kernel has a size in pixels."""
    height, width, _ = image.shape
    sigma = gaussian_sigma(size)
    margin = min(int(np.ceil(3 * sigma)), height, width)
    edges = ((margin, margin), (margin, margin), (0, 0))
    padded = np.pad(image.astype(np.float64), edges, mode="symmetric")  # the transform takes photos as periodic
    frequencies = (np.fft.fftfreq(side) for side in padded.shape[:2])
    rows, columns = (np.exp(-2 * (np.pi * sigma * f) ** 2) for f in frequencies)
    response = (rows[:, None] * columns[None])[:, :, None]  # [H', W', 1], of the blur
    spectrum = np.fft.fft2(padded, axes=(0, 1)) * response / (response**2 + NOISE_TO_SIGNAL)
    # The filter keeps the mean, which it would darken.
    sharpened = np.fft.ifft2(spectrum * (1 + NOISE_TO_SIGNAL), axes=(0, 1)).real
    return _levels(sharpened[margin : margin + height, margin : margin + width])


def richardson_lucy(image: np.ndarray, size: float, iterations: int = ITERATIONS) -> np.ndarray:
    """Return uint8 `[H, W, C]` sharpened for the same Gaussian (Richardson 1972, Lucy 1974): `u *= K (d / K u)`."""
    d = image.astype(np.float64) + 1  # above zero, so that black can change
    u = d
    for _ in range(iterations):
        u = u * _blurred(d / _blurred(u, size), size)
    return _levels(u - 1)


def gaussian_sigma(size: float) -> float:
    """Return the standard deviation that OpenCV gives a Gaussian kernel of a size in pixels."""
    return 0.3 * ((size - 1) / 2 - 1) + 0.8


def _blurred(image: np.ndarray, size: float) -> np.ndarray:
    """Return float64 `[H, W, C]` under the Gaussian K."""
    sigma = gaussian_sigma(size)
    taps = 2 * int(np.ceil(3 * sigma)) + 1
    blurred = cv2.GaussianBlur(image, (taps, taps), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred.reshape(image.shape)


def _levels(image: np.ndarray) -> np.ndarray:
    return image.round().clip(0, 255).astype(np.uint8)
