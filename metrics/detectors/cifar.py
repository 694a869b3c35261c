"""The embedded detector: this project's own classifier of CIFAR-10, so that nothing needs to be downloaded.

Its numbers rank results by quality. They cannot be compared with published FID or LPIPS, so they have other names.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import sha256
from metrics.backbones.cifar import CifarNetwork, load_stored
from metrics.backbones.lpips import perceptual_distance
from metrics.detector import Detector, to_rgb
from metrics.weights.directory import WeightsDirectory
from torch_utils.checkpoint import load_tensors

WEIGHTS = Path(__file__).parents[1] / "embedded" / "cifar10.safetensors"
LARGEST = 64  # px, side above which images are reduced
SMALLEST = 9  # px, side of the smallest image for which each output has a pixel


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the embedded detector; `weights` is not used."""
    network = load_stored(CifarNetwork(), load_tensors(WEIGHTS))
    # A quarter faster on a CPU.
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    return Detector(
        name="cifar",
        resize=f"sides above {LARGEST} to {LARGEST} by area, others as they are",
        sha256={WEIGHTS.name: sha256(WEIGHTS)},
        features=lambda images: _features(network, images),
        distances=lambda a, b: perceptual_distance(network.maps(_prepare(a)), network.maps(_prepare(b)), None),
    )


def _features(network: CifarNetwork, images: Tensor) -> Tensor:
    """Return the mean of every channel of the stages' outputs, `[N, 64 + 128 + 192]`."""
    return torch.cat([maps.mean((2, 3)) for maps in network.maps(_prepare(images))[1:]], dim=1)


def _prepare(images: Tensor) -> Tensor:
    """Return images `[N, 3, <= 64, <= 64]`, float32 in 0..255; raise UserError for images that are too small."""
    images = to_rgb(images)
    if min(images.shape[2:]) < SMALLEST:
        raise UserError(
            f"images of {images.shape[3]}x{images.shape[2]} pixels are too small for the embedded detector; "
            f"give at least {SMALLEST}x{SMALLEST}"
        )
    sides = [min(side, LARGEST) for side in images.shape[2:]]
    return images if list(images.shape[2:]) == sides else F.interpolate(images, size=sides, mode="area")
