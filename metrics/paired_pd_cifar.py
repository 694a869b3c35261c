"""Perceptual distance by the embedded detector; smaller is better."""

from metrics.detector import load_detector
from metrics.paired import Paired


def load(weights, device) -> Paired:
    """Return the measure, whose weights are part of this project."""
    detector = load_detector("cifar", weights, device)
    return Paired(detector.distances, detector)
