"""VGG16, the detector of precision and recall, and of perceptual path lengths (PPL).

The weights are NVIDIA's file; where that is missing, torchvision's with the heads of LPIPS. The hashes in a result tell
which file it was.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.jit import ScriptModule

from metrics.backbones.imagenet import load_published
from metrics.backbones.lpips import load_lpips
from metrics.backbones.published_torchscript import check_outputs
from metrics.backbones.vgg16_features import Vgg16Features
from metrics.detector import Detector, to_rgb
from metrics.weights.directory import WeightsDirectory
from torch_utils.untrusted.torchscript import load_torchscript, run_exactly

FEATURES = 4096


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector with features `[N, 4096]` and LPIPS distances `[N]`.

    Features are of images resized to 224x224, distances of images as they are. With torchvision's file, there are
    distances only where the heads of LPIPS are, too.
    """
    if not weights.has("vgg16_nvidia") and weights.has("vgg16"):
        return _from_torchvision(weights, device)
    path = weights.path("vgg16_nvidia")
    module = load_torchscript(path, device)
    outputs: dict[str, Callable[[Tensor], Tensor]] = {
        "features": partial(_features, module),
        "distances": lambda images: _distances(module, images, images),
    }
    check_outputs(path, "NVIDIA's VGG16", outputs, {"features": [1, FEATURES], "distances": [1]}, device)
    return Detector(
        name="vgg16",
        resize="features: 224x224, inside the published network; distances: as they are",
        sha256=weights.sha256("vgg16_nvidia"),
        features=partial(_features, module),
        distances=partial(_distances, module),
    )


def _from_torchvision(weights: WeightsDirectory, device: torch.device) -> Detector:
    network = load_published(Vgg16Features(), weights.path("vgg16"), "VGG16").to(device)
    has_heads = weights.has("lpips_vgg")
    return Detector(
        name="vgg16",
        resize="features: 224x224 bilinear; distances: as they are",
        sha256=weights.sha256("vgg16") | (weights.sha256("lpips_vgg") if has_heads else {}),
        features=lambda images: network(to_rgb(images)),
        distances=load_lpips("vgg", weights, device) if has_heads else None,
    )


def _features(module: ScriptModule, images: Tensor) -> Tensor:
    return run_exactly(module, to_rgb(images), return_features=True)


def _distances(module: ScriptModule, a: Tensor, b: Tensor) -> Tensor:
    """Return LPIPS `[N]`: the network's outputs are scaled such that their squared differences add up to it."""
    x, y = (run_exactly(module, to_rgb(images), resize_images=False, return_lpips=True) for images in (a, b))  # [N, D]
    return (x - y).square().sum(1)
