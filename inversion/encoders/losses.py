"""The loss terms of encoders: distances of reconstructions from photos, and of codes from known ones."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from images.ranges import to_levels
from inversion.encoders.config import EncoderLossConfig
from metrics.detector import load_detector
from metrics.distances.face_similarity import similarity
from metrics.weights.directory import WeightsDirectory
from networks.latents import Latents


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
        self.perceptual: Callable[[Tensor, Tensor], Tensor] | None = None
        self.identity: Callable[[Tensor], Tensor] | None = None
        if any(side.perceptual for side in sides):
            self.perceptual = load_detector(config.perceptual, weights, device).distances
        if any(side.identity for side in sides):
            self.identity = load_detector("arcface", weights, device).features

    def __call__(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return distances `[N]` by name of the weight, for images `[N, C, R, R]` in [-1, 1]."""
        terms = {"l2": (images - targets).square().mean((1, 2, 3))}  # [N]
        images, targets = (to_levels(side, shift_first=True) for side in (images, targets))  # detectors take 0..255
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(images, targets)
            for level in range(1, self.scales):  # feature-style, Eq. 3
                halved = (F.avg_pool2d(side, 2**level) for side in (images, targets))
                terms["perceptual"] = terms["perceptual"] + self.perceptual(*halved)
        if self.identity is not None:
            terms["identity"] = 1 - similarity(self.identity(images), self.identity(targets))
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
