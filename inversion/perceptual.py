"""Perceptual distances as losses of inversion (LPIPS, or the embedded CIFAR-10 classifier)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dnnlib.errors import unknown_name
from dnnlib.files import sha256
from images.ranges import to_levels
from metrics.backbones.cifar import CifarNetwork, load_stored
from metrics.backbones.lpips import BACKBONES, load_lpips, perceptual_distance
from metrics.detectors.cifar import LARGEST, WEIGHTS
from metrics.weights.directory import WeightsDirectory
from torch_utils.checkpoint import load_tensors
from torch_utils.precision import fastest_dtype

Features = list[Tensor]  # [N, C_l, H_l, W_l] a layer


class Perceptual:
    """A perceptual distance between images in [-1, 1], frozen; gradients flow to the images.

    Args:
        maps: function of images float32 `[N, C, H, W]` in 0..255, gray or RGB, to features.
        weights: weights of the channels, `[1, C_l, 1, 1]` a layer; None: all 1.
        autocast: type of lower precision that the features are computed in; None: float32.
    """

    def __init__(
        self,
        maps: Callable[[Tensor], Features],
        weights: Sequence[Tensor] | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._maps = maps
        self._weights = weights
        self._autocast = autocast

    def features(self, images: Tensor) -> Features:
        """Return the features of images float32 `[N, C, H, W]` in [-1, 1]; of fixed targets once is enough."""
        images = to_levels(images, shift_first=True)
        with torch.autocast(images.device.type, self._autocast, enabled=self._autocast is not None):
            maps = self._maps(images)
        return [layer.float() for layer in maps]

    def distance(self, a: Features, b: Features) -> Tensor:
        """Return distances `[N]` of features; a batch of one is compared with all of the other batch."""
        return perceptual_distance(a, b, self._weights)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return distances `[N]` of images float32 `[N, C, H, W]` in [-1, 1]."""
        return self.distance(self.features(a), self.features(b))


def load_perceptual(
    name: str, weights: WeightsDirectory, device: torch.device, full_precision: bool = False
) -> Perceptual:
    """Return the distance of the detector called `name`: `cifar`, `lpips_alex`, `lpips_vgg` or `lpips_squeeze`.

    With `full_precision` the values are those of the detector; without, devices that have bfloat16 compute in it.
    Raises UserError for an unknown name, and for weights that are missing or something else.
    """
    is_fast = fastest_dtype(device) == "bf16" and not full_precision
    autocast = torch.bfloat16 if is_fast else None
    if name == "cifar":
        network = load_stored(CifarNetwork(), load_tensors(WEIGHTS))
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
        return Perceptual(lambda images: network.maps(_shrink(images, LARGEST)), autocast=autocast)
    variants = {f"lpips_{variant}": variant for variant in BACKBONES}
    if name not in variants:
        raise unknown_name("perceptual distance", name, ["cifar", *variants])
    lpips = load_lpips(variants[name], weights, device)
    return Perceptual(lpips.features, list(lpips.heads), autocast)


def perceptual_sha256(name: str, weights: WeightsDirectory) -> dict[str, str]:
    """Return the SHA-256 of the files that `load_perceptual` reads, by file name."""
    if name == "cifar":
        return {WEIGHTS.name: sha256(WEIGHTS)}
    variant = name.removeprefix("lpips_")
    return weights.sha256(BACKBONES[variant][0]) | weights.sha256(name)


def _shrink(images: Tensor, side: int) -> Tensor:
    """Return images `[N, 3, H, W]` whose sides above `side` are shrunk by area, as the embedded detector does."""
    sides = [min(length, side) for length in images.shape[2:]]
    images = images.expand(-1, 3, -1, -1)
    return images if list(images.shape[2:]) == sides else F.interpolate(images, size=sides, mode="area")


def default_perceptual(device: torch.device) -> Perceptual:
    """Return the embedded distance, which needs no file."""
    return load_perceptual("cifar", WeightsDirectory(None), device)


class ReconstructionLoss:
    """Squared error and perceptual distance to fixed targets.

    Args:
        targets: targets, float `[N, C, R, R]` in [-1, 1].
        perceptual: perceptual distance, which is computed only where its weight is above 0.
        pixel_weight: weight of the mean squared error.
        perceptual_weight: weight of the perceptual distance.

    Attributes:
        distances: perceptual distances `[N]` of the latest images; infinite before the first, and without a weight.
    """

    def __init__(self, targets: Tensor, perceptual: Perceptual, pixel_weight: float, perceptual_weight: float) -> None:
        self.targets = targets
        self.perceptual = perceptual
        self.pixel_weight = pixel_weight
        self.perceptual_weight = perceptual_weight
        with torch.no_grad():
            self.features = perceptual.features(targets) if perceptual_weight > 0 else None
        self.distances = targets.new_full([len(targets)], float("inf"))

    def __call__(self, images: Tensor) -> Tensor:
        """Return the loss `[N]` of images `[N, C, R, R]`."""
        loss = self.pixel_weight * (images - self.targets).square().mean((1, 2, 3))  # [N]
        if self.features is None:
            return loss
        distance = self.perceptual.distance(self.perceptual.features(images), self.features)  # [N]
        self.distances = distance.detach()
        return loss + self.perceptual_weight * distance
