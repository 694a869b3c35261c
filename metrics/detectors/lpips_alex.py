"""LPIPS with AlexNet, the variant that results are usually reported with."""

import torch

from metrics.backbones.lpips import lpips_detector
from metrics.detector import Detector
from metrics.weights.directory import WeightsDirectory


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector; raise UserError when one of the two files of weights is missing or of another network."""
    return lpips_detector("alex", weights, device)
