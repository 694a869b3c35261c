"""Similarity of faces: the cosine of their ArcFace embeddings (Deng et al. 2019), -1..1; larger is better."""

from metrics.detector import load_detector
from metrics.identity import similarity
from metrics.paired import Paired


def load(weights, device) -> Paired:
    """Return the measure; it needs published weights."""
    detector = load_detector("arcface", weights, device)
    return Paired(lambda a, b: similarity(detector.features(a), detector.features(b)), detector)
