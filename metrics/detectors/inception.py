"""Inception-v3 of 2015 as NVIDIA publishes it: the detector of the field's FID, KID, IS and PR."""

from pathlib import Path

import torch
from torch import Tensor
from torch.jit import ScriptModule

from dnnlib.errors import UserError
from metrics.detector import Detector, rgb
from metrics.weights.directory import WeightsDirectory
from torch_utils.untrusted.torchscript import load_torchscript, run_exactly

FEATURES, CLASSES = 2048, 1008


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector with features `[N, 2048]` and probabilities `[N, 1008]`, both of TensorFlow's network."""
    path = weights.path("inception")
    module = load_torchscript(path, device)
    _check(module, path, device)
    return Detector(
        name="inception",
        resize="299x299 bilinear, inside the published network",
        sha256=weights.sha256("inception"),
        features=lambda images: _features(module, images),
        probabilities=lambda images: _probabilities(module, images),
    )


def _features(module: ScriptModule, images: Tensor) -> Tensor:
    return run_exactly(module, rgb(images), return_features=True)


def _probabilities(module: ScriptModule, images: Tensor) -> Tensor:
    """Return what the inception score is made of: softmax of logits without the last layer's bias."""
    return run_exactly(module, rgb(images), no_output_bias=True)


@torch.no_grad()
def _check(module: ScriptModule, path: Path, device: torch.device) -> None:
    """Raise UserError unless the network answers as the published one does."""
    images = torch.full([1, 3, 32, 32], 128.0, device=device)
    try:
        features, probabilities = _features(module, images), _probabilities(module, images)
    except RuntimeError as error:  # TorchScript has no other for a wrong signature
        raise UserError(f"{path} is another network than Inception-v3 of 2015; fetch that again") from error
    if list(features.shape) != [1, FEATURES] or list(probabilities.shape) != [1, CLASSES]:
        raise UserError(
            f"{path} gives features {list(features.shape)} and probabilities {list(probabilities.shape)} instead of "
            f"[1, {FEATURES}] and [1, {CLASSES}]; fetch the published file again"
        )
    if not torch.isclose(probabilities.sum(), torch.ones_like(probabilities.sum()), atol=1e-3):
        raise UserError(f"{path} gives probabilities that do not add up to 1; fetch the published file again")
