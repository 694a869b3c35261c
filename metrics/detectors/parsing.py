"""Face parsing (BiSeNet on CelebAMask-HQ): distances of what is where in a face (Yao et al. 2022, Eq. 7)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.backbones.bisenet import DEVIATIONS, INPUT_SIDE, MEANS, BiSeNet
from metrics.backbones.imagenet import load_published
from metrics.detector import Detector, to_rgb
from metrics.distances.layers import cosine_distance
from metrics.weights.directory import WeightsDirectory


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector: distances between the features of five layers, with gradients to the images.

    Raises UserError when the weights are missing or of another network.
    """
    network = load_published(BiSeNet(), weights.path("parsing"), "BiSeNet for faces").to(device)
    return Detector(
        name="parsing",
        resize=f"larger images to {INPUT_SIDE}x{INPUT_SIDE} by area, others bilinearly",
        sha256=weights.sha256("parsing"),
        distances=lambda a, b: cosine_distance(network.maps(_prepare(a)), network.maps(_prepare(b))),
    )


def _prepare(images: Tensor) -> Tensor:
    """Return images `[N, 3, 512, 512]`, normalised as in training."""
    images = to_rgb(images) / 255
    side = (INPUT_SIDE, INPUT_SIDE)
    if min(images.shape[2:]) > INPUT_SIDE:
        images = F.interpolate(images, size=side, mode="area")
    elif images.shape[2:] != side:
        images = F.interpolate(images, size=side, mode="bilinear")
    means, deviations = (images.new_tensor(values).view(3, 1, 1) for values in (MEANS, DEVIATIONS))
    return (images - means) / deviations
