"""Similarity of pairs of images: found by name, one file each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlib.registry import Registry
from metrics.detector import Detector
from metrics.weights import WeightsDirectory

PAIRED = Registry("metrics", "paired_", "measure of pairs")


@dataclass(frozen=True)
class Paired:
    """A measure of pairs.

    Attributes:
        compare: two batches `[N, C, H, W]`, uint8 or float in 0..255, -> `[N]`.
        detector: whose opinion it is, if any.
    """

    compare: Callable[[Tensor, Tensor], Tensor]
    detector: Detector | None = None


def load_paired(name: str, weights: WeightsDirectory, device: torch.device) -> Paired:
    """Return the measure called `name`; raise UserError when its weights are missing or something else."""
    return PAIRED.get(name).load(weights, device)
