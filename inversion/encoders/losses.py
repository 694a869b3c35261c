"""The loss terms of encoders: distances of reconstructions from photos, and of codes from known ones."""

import functools
import operator
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from images.ranges import to_levels
from inversion.encoders.config import EncoderLossConfig, SideWeights
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
        if self.identity is not None:
            terms["identity"] = 1 - similarity(self.identity(images), self.identity(targets))
        return terms


def weighted_sum(terms: Mapping[str, Tensor], weights: SideWeights) -> Tensor:
    """Return the sum of the means of distances between images, each times its weight."""
    return functools.reduce(operator.add, (getattr(weights, name) * values.mean() for name, values in terms.items()))


def weighted_code_sum(terms: Mapping[str, Tensor], weights: EncoderLossConfig) -> Tensor:
    """Return the sum of the means of what `code_terms` returns, each times its weight."""
    factors = {"w": weights.own_w, "q": weights.own_q}
    return functools.reduce(operator.add, (factors[name] * values.mean() for name, values in terms.items()))


def w_norm(ws: Tensor, w_avg: Tensor, spread: Tensor) -> Tensor:
    """Return how far `ws [N, num_ws, w_dim]` are from `w_avg [w_dim]`, as mean squares `[N]` in units of w's spread."""
    return ((ws - w_avg) / spread).square().mean((1, 2))


def code_terms(predicted: Latents, known: Latents, spread: Tensor) -> dict[str, Tensor]:
    """Return mean squared errors `[N]` of w, in units of its spread, and of q where there is one."""
    terms = {"w": ((predicted.ws - known.ws) / spread).square().mean((1, 2))}
    if known.q is not None:
        assert predicted.q is not None, "an encoder for a network with quality codes predicts them"
        terms["q"] = (predicted.q - known.q).square().mean(1)  # [N]
    return terms
