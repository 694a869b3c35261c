"""Structural similarity (Wang et al. 2004), at most 1; larger is better."""

from metrics.paired import Paired
from metrics.pixels import ssim


def load(weights, device) -> Paired:
    """Return the measure, which needs no weights."""
    return Paired(ssim)
