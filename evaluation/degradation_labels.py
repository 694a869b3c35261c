"""Degradations with labels, for the classifiers of Section 4.6: is there one of a kind, and how strong is it."""

import math
from collections.abc import Callable

import numpy as np

from degradations import degrade
from degradations.kernel_sizes import size_range
from degradations.primitive import apply_primitive
from degradations.primitives.gaussian_noise import VARIANCE
from degradations.primitives.jpeg import QUALITY
from evaluation.choices import KINDS

Image = np.ndarray  # uint8 [H, W, C]
Degradation = Callable[[Image, np.random.Generator], tuple[Image, float]]  # -> the degraded image and its label


def present_or_not(kind: str) -> Degradation:
    """Return a degradation that is of a kind (1), half of the time, else none or of the other kinds (0)."""
    others = ("sharp", *(other for other in KINDS if other != kind))

    def degraded(image: Image, rng: np.random.Generator) -> tuple[Image, float]:
        present = rng.random() < 0.5
        name = kind if present else others[rng.integers(len(others))]
        return (image if name == "sharp" else degrade(image, name, rng)[0]), float(present)

    return degraded


def graded(kind: str) -> Degradation:
    """Return a degradation of a kind, labelled with its strength: at least 0, below 1, over the range of training.

    Blur is Gaussian, by its size; noise by its standard deviation; JPEG by its quality, the best ones first.
    """
    return _GRADED[kind]


def _graded_blur(image: Image, rng: np.random.Generator) -> tuple[Image, float]:
    low, high = size_range(image.shape[1])
    strength = rng.random()
    size = low + strength * (high - low)
    return apply_primitive(image, "gaussian_blur", rng, size=size, sigma=0.15 * size + 0.35)[0], strength


def _graded_noise(image: Image, rng: np.random.Generator) -> tuple[Image, float]:
    low, high = (math.sqrt(bound) for bound in VARIANCE)
    strength = rng.random()
    deviation = low + strength * (high - low)
    return apply_primitive(image, "gaussian_noise", rng, variance=deviation**2)[0], strength


def _graded_jpeg(image: Image, rng: np.random.Generator) -> tuple[Image, float]:
    worst, best = QUALITY
    step = int(rng.integers(best - worst + 1))
    return apply_primitive(image, "jpeg", rng, quality=best - step)[0], step / (best - worst + 1)


_GRADED: dict[str, Degradation] = {"blur": _graded_blur, "noise": _graded_noise, "jpeg": _graded_jpeg}
