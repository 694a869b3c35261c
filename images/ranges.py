"""Conversions between the ranges of pixels: [-1, 1] of the networks, 0..255 of the metrics, uint8 of the files.

A number in 0..255 is called a level here, be it a float or a uint8.
"""

import numpy as np
from torch import Tensor


def from_levels(images: Tensor) -> Tensor:
    """Map levels, uint8 or float in 0..255, to [-1, 1]; uint8 becomes float32, floats keep their type."""
    return images / 127.5 - 1


def to_levels(images: Tensor, shift_first: bool = False) -> Tensor:
    """Map floats in [-1, 1] to levels in 0..255, in the same type, neither rounded nor clipped.

    `shift_first` computes `(x + 1) * 127.5` instead of `x * 127.5 + 127.5`. The two differ by float32's rounding, and a
    result can be repeated only in the order in which it was computed before: the losses of inversion shift first.
    """
    return (images + 1) * 127.5 if shift_first else images * 127.5 + 127.5


def round_levels(levels: Tensor) -> Tensor:
    """Return float levels as uint8: rounded to the nearest, halves to the even one, and clipped."""
    return levels.round().clamp(0, 255).byte()


def to_uint8(images: Tensor) -> np.ndarray:
    """Return float images `[N, C, H, W]` in [-1, 1] as uint8 `[N, H, W, C]`; values outside are clipped."""
    levels = round_levels(to_levels(images.float()))  # [N, C, H, W]
    return levels.permute(0, 2, 3, 1).cpu().numpy()
