"""The loss terms of encoders: distances of reconstructions from photos, and of codes from known ones."""

import torch
import torch.nn.functional as F
from torch import Tensor

from images.ranges import to_levels
from inversion.encoders.config import EncoderLossConfig
from metrics.detector import load_detector
from metrics.distances.face_similarity import similarity
from metrics.weights.directory import WeightsDirectory
from networks.latents import Latents

# Term -> detector that computes it; None: the one that the configuration names.
DETECTORS = {"perceptual": None, "identity": "arcface", "identity_layers": "arcface", "parsing": "parsing"}


class ImageTerms:
    """Distances between images, each computed only where its weight is not zero.

    Args:
        config: names the perceptual detector, and which terms have a weight.
        weights: directory of published weights.
        device: device of the detectors.

    Raises UserError when published weights are needed that are not there.
    """

    def __init__(self, config: EncoderLossConfig, weights: WeightsDirectory, device: torch.device) -> None:
        self.scales = config.scales
        sides = (config.degraded, config.sharp)
        names = [name for name in DETECTORS if any(getattr(side, name) for side in sides)]
        self.detectors = {name: load_detector(DETECTORS[name] or config.perceptual, weights, device) for name in names}

    def __call__(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return distances `[N]` by name of the weight, for images `[N, C, R, R]` in [-1, 1]."""
        terms = {"l2": (images - targets).square().mean((1, 2, 3))}  # [N]
        images, targets = (to_levels(side, shift_first=True) for side in (images, targets))  # detectors take 0..255
        for name, detector in self.detectors.items():
            if name == "identity":
                assert detector.features is not None, "ArcFace has features"
                terms[name] = 1 - similarity(detector.features(images), detector.features(targets))
                continue
            assert detector.distances is not None, f"{detector.name} has distances"
            terms[name] = detector.distances(images, targets)
            for level in range(1, self.scales if name == "perceptual" else 1):  # feature-style, Eq. 3
                halved = (F.avg_pool2d(side, 2**level) for side in (images, targets))
                terms[name] = terms[name] + detector.distances(*halved)
        return terms


def w_norm(ws: Tensor, w_avg: Tensor, spread: Tensor) -> Tensor:
    """Return how far `ws [N, num_ws, w_dim]` are from `w_avg [w_dim]`, as mean squares `[N]` in units of w's spread."""
    return ((ws - w_avg) / spread).square().mean((1, 2))


def w_length(ws: Tensor, w_avg: Tensor) -> Tensor:
    """Return the length `[N]` of `ws [N, num_ws, w_dim] - w_avg [w_dim]`, over all layers (padding space, Eq. 5)."""
    return (ws - w_avg).flatten(1).norm(dim=1)


def features_error(features: Tensor, wanted: Tensor, spread: Tensor) -> Tensor:
    """Return mean squared errors `[N]` of features `[N, C, S, S]`, in units of their spread `[C, 1, 1]`."""
    return ((features - wanted) / spread).square().mean((1, 2, 3))


def code_terms(predicted: Latents, known: Latents, spread: Tensor) -> dict[str, Tensor]:
    """Return mean squared errors `[N]` of w, in units of its spread, and of q where there is one."""
    terms = {"w": ((predicted.ws - known.ws) / spread).square().mean((1, 2))}
    if known.q is not None:
        assert predicted.q is not None, "an encoder for a network with quality codes predicts them"
        terms["q"] = (predicted.q - known.q).square().mean(1)  # [N]
    return terms
