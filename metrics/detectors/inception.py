"""Inception-v3 of 2015 as NVIDIA publishes it: the detector of FID, KID and IS."""

from functools import partial

import torch
from torch import Tensor
from torch.jit import ScriptModule

from dnnlib.errors import UserError
from metrics.backbones.published_torchscript import check_outputs
from metrics.detector import Detector, to_rgb
from metrics.weights.directory import WeightsDirectory
from torch_utils.untrusted.torchscript import load_torchscript, run_exactly

FEATURES, CLASSES = 2048, 1008


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector with features `[N, 2048]` and probabilities `[N, 1008]`, both of TensorFlow's network."""
    path = weights.path("inception")
    module = load_torchscript(path, device)
    outputs = {"features": partial(_features, module), "probabilities": partial(_probabilities, module)}
    shapes = {"features": [1, FEATURES], "probabilities": [1, CLASSES]}
    total = check_outputs(path, "Inception-v3 of 2015", outputs, shapes, device)["probabilities"].sum()
    if not torch.isclose(total, torch.ones_like(total), atol=1e-3):
        raise UserError(f"{path} gives probabilities that do not add up to 1; fetch the published file again")
    return Detector(
        name="inception",
        resize="299x299 bilinear, inside the published network",
        sha256=weights.sha256("inception"),
        features=outputs["features"],
        probabilities=outputs["probabilities"],
    )


def _features(module: ScriptModule, images: Tensor) -> Tensor:
    return run_exactly(module, to_rgb(images), return_features=True)


def _probabilities(module: ScriptModule, images: Tensor) -> Tensor:
    """Return the probabilities of the inception score: softmax of logits without the last layer's bias."""
    return run_exactly(module, to_rgb(images), no_output_bias=True)
