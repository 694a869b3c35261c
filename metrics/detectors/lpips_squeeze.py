"""LPIPS with SqueezeNet 1.1, the smallest variant."""

import torch

from metrics.backbones.lpips import lpips_detector
from metrics.detector import Detector
from metrics.weights.directory import WeightsDirectory


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector; raise UserError when one of the two files of weights is missing or of another network."""
    return lpips_detector("squeeze", weights, device)
