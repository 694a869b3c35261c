"""How different two images look, as a loss; what the target needs is computed once."""

from collections.abc import Callable

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

Features = list[Tensor]


class Perceptual:
    """A perceptual distance between images in [-1, 1], frozen; gradients flow to the images.

    Args:
        maps: images float32 `[N, C, H, W]` in 0..255, gray or RGB -> one `[N, C_l, H_l, W_l]` a layer.
        weights: of the channels, one `[1, C_l, 1, 1]` a layer; None: all 1.
        autocast: in which type of lower precision the maps are computed; None: as they come.
    """

    def __init__(
        self,
        maps: Callable[[Tensor], Features],
        weights: list[Tensor] | None = None,
        autocast: torch.dtype | None = None,
    ):
        self._maps, self._weights, self._autocast = maps, weights, autocast

    def features(self, images: Tensor) -> Features:
        """Return what the distance sees of images float32 `[N, C, H, W]` in [-1, 1]."""
        images = to_levels(images, shift_first=True)  # metrics count in 0..255
        with torch.autocast(images.device.type, self._autocast, enabled=self._autocast is not None):
            maps = self._maps(images)
        return [layer.float() for layer in maps]

    def distance(self, a: Features, b: Features) -> Tensor:
        """Return distances `[N]` of what `features` gave; a batch of one is compared with all of the other."""
        return perceptual_distance(a, b, self._weights)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return distances `[N]` of images float32 `[N, C, H, W]` in [-1, 1]."""
        return self.distance(self.features(a), self.features(b))


def load_perceptual(
    name: str, weights: WeightsDirectory, device: torch.device, full_precision: bool = False
) -> Perceptual:
    """Return the distance of the detector called `name`: `cifar`, `lpips_alex`, `lpips_vgg` or `lpips_squeeze`.

    With `full_precision` its values are the detector's own; without, a device that has bfloat16 computes in it.
    Raises UserError for an unknown name, and for weights that are missing or something else.
    """
    is_fast = fastest_dtype(device) == "bf16" and not full_precision
    autocast = torch.bfloat16 if is_fast else None
    if name == "cifar":
        network = load_stored(CifarNetwork(), load_tensors(WEIGHTS)).to(device, memory_format=torch.channels_last)
        return Perceptual(lambda images: network.maps(_at_most(images, LARGEST)), autocast=autocast)
    variants = {f"lpips_{variant}": variant for variant in BACKBONES}
    if name not in variants:
        raise unknown_name("perceptual distance", name, ["cifar", *variants])
    lpips = load_lpips(variants[name], weights, device)
    return Perceptual(lpips.features, list(lpips.heads), autocast)


def perceptual_sha256(name: str, weights: WeightsDirectory) -> dict[str, str]:
    """Return the hashes of the files behind the distance that `load_perceptual` gives, by file name."""
    if name == "cifar":
        return {WEIGHTS.name: sha256(WEIGHTS)}
    variant = name.removeprefix("lpips_")
    return weights.sha256(BACKBONES[variant][0]) | weights.sha256(name)


def _at_most(images: Tensor, side: int) -> Tensor:
    """Shrink sides above `side` by area, as the embedded detector does; gray images become RGB."""
    sides = [min(length, side) for length in images.shape[2:]]
    images = images.expand(-1, 3, -1, -1)
    return images if list(images.shape[2:]) == sides else F.interpolate(images, size=sides, mode="area")


def default_perceptual(device: torch.device) -> Perceptual:
    """Return the embedded distance, which needs no file."""
    return load_perceptual("cifar", WeightsDirectory(None), device)


class ReconstructionLoss:
    """Squared error and perceptual distance to fixed targets.

    Args:
        targets: float `[N, C, R, R]` in [-1, 1].
        perceptual: the distance; not looked at when its weight is 0.
        pixel_weight, perceptual_weight: of the two.
    """

    def __init__(self, targets: Tensor, perceptual: Perceptual, pixel_weight: float, perceptual_weight: float):
        self.targets, self.perceptual = targets, perceptual
        self.pixel_weight, self.perceptual_weight = pixel_weight, perceptual_weight
        with torch.no_grad():
            self.features = perceptual.features(targets) if perceptual_weight > 0 else None

    def __call__(self, images: Tensor) -> Tensor:
        """Return the loss `[N]` of images `[N, C, R, R]`."""
        loss = self.pixel_weight * (images - self.targets).square().mean((1, 2, 3))
        if self.features is None:
            return loss
        distance = self.perceptual.distance(self.perceptual.features(images), self.features)
        return loss + self.perceptual_weight * distance
