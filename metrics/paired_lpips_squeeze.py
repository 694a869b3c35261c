"""LPIPS by SqueezeNet (Zhang et al. 2018); smaller is better."""

from metrics.detector import load_detector
from metrics.paired import Paired


def load(weights, device) -> Paired:
    """Return the measure; it needs published weights."""
    detector = load_detector("lpips_squeeze", weights, device)
    return Paired(detector.distances, detector)
