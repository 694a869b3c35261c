"""VGG16, the detector of the field's precision and recall, and of perceptual path lengths.

As NVIDIA publishes it; where that file is missing, as torchvision does, with LPIPS's own heads. A result's hashes tell
which it was.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.jit import ScriptModule

from dnnlib.errors import UserError
from metrics.backbones.imagenet import load_published
from metrics.backbones.lpips import load_lpips
from metrics.backbones.vgg16_features import Vgg16Features
from metrics.detector import Detector, rgb
from metrics.weights.directory import WeightsDirectory
from torch_utils.untrusted.torchscript import load_torchscript, run_exactly

FEATURES = 4096


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector with features `[N, 4096]`, of images resized to 224x224, and LPIPS distances, of images as
    they are (without NVIDIA's file, only where LPIPS's heads are there).
    """
    if not weights.has("vgg16_nvidia") and weights.has("vgg16"):
        return _from_torchvision(weights, device)
    path = weights.path("vgg16_nvidia")
    module = load_torchscript(path, device)
    _check(module, path, device)
    return Detector(
        name="vgg16",
        resize="features: 224x224, inside the published network; distances: as they are",
        sha256=weights.sha256("vgg16_nvidia"),
        features=lambda images: _features(module, images),
        distances=lambda a, b: _distances(module, a, b),
    )


def _from_torchvision(weights: WeightsDirectory, device: torch.device) -> Detector:
    network = load_published(Vgg16Features(), weights.path("vgg16"), "VGG16").to(device)
    has_heads = weights.has("lpips_vgg")
    return Detector(
        name="vgg16",
        resize="features: 224x224 bilinear; distances: as they are",
        sha256=weights.sha256("vgg16") | (weights.sha256("lpips_vgg") if has_heads else {}),
        features=lambda images: network(rgb(images)),
        distances=load_lpips("vgg", weights, device) if has_heads else None,
    )


def _features(module: ScriptModule, images: Tensor) -> Tensor:
    return run_exactly(module, rgb(images), return_features=True)


def _distances(module: ScriptModule, a: Tensor, b: Tensor) -> Tensor:
    """Return LPIPS `[N]`: the network's answer is scaled such that squared differences add up to it."""
    answers = [run_exactly(module, rgb(images), resize_images=False, return_lpips=True) for images in (a, b)]  # [N, D]
    return (answers[0] - answers[1]).square().sum(1)


@torch.no_grad()
def _check(module: ScriptModule, path: Path, device: torch.device) -> None:
    """Raise UserError unless the network answers as the published one does."""
    images = torch.full([1, 3, 32, 32], 128.0, device=device)
    try:
        features, distances = _features(module, images), _distances(module, images, images)
    except (RuntimeError, IndexError) as error:  # TorchScript has no other for a wrong signature
        raise UserError(f"{path} is another network than NVIDIA's VGG16; fetch that again") from error
    if list(features.shape) != [1, FEATURES] or list(distances.shape) != [1]:
        raise UserError(
            f"{path} gives features {list(features.shape)} and distances {list(distances.shape)} instead of "
            f"[1, {FEATURES}] and [1]; fetch the published file again"
        )
