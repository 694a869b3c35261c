"""Similarity of pairs of images, by name: PSNR, SSIM, LPIPS, identity of faces, the embedded distance."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlib.errors import unknown_name
from metrics.detector import Detector, load_detector
from metrics.distances.face_similarity import similarity
from metrics.distances.pixels import psnr, ssim
from metrics.weights.directory import WeightsDirectory


@dataclass(frozen=True)
class Paired:
    """A measure of pairs.

    Attributes:
        compare: two batches `[N, C, H, W]`, uint8 or float in 0..255, -> `[N]`.
        detector: whose opinion it is, if any.
    """

    compare: Callable[[Tensor, Tensor], Tensor]
    detector: Detector | None = None


def load_paired(name: str, weights: WeightsDirectory, device: torch.device) -> Paired:
    """Return the measure called `name`; raise UserError when its weights are missing or something else."""
    if name not in PAIRED:
        raise unknown_name("measure of pairs", name, sorted(PAIRED))
    return PAIRED[name](weights, device)


def _pixels(compare: Callable[[Tensor, Tensor], Tensor]) -> Callable[[WeightsDirectory, torch.device], Paired]:
    """Return the loader of a measure that needs no weights."""
    return lambda weights, device: Paired(compare)


def _perceptual(detector_name: str) -> Callable[[WeightsDirectory, torch.device], Paired]:
    """Return the loader of the perceptual distance that a detector defines."""

    def load(weights: WeightsDirectory, device: torch.device) -> Paired:
        detector = load_detector(detector_name, weights, device)
        return Paired(detector.distances, detector)

    return load


def _identity(weights: WeightsDirectory, device: torch.device) -> Paired:
    detector = load_detector("arcface", weights, device)
    return Paired(lambda a, b: similarity(detector.features(a), detector.features(b)), detector)


# Loaders by name. PSNR (dB), SSIM and the cosine of ArcFace embeddings (Deng et al. 2019) are larger for similar
# images; LPIPS (Zhang et al. 2018) and pd_cifar, the distance of the embedded detector, are smaller.
PAIRED: dict[str, Callable[[WeightsDirectory, torch.device], Paired]] = {
    "identity": _identity,
    "lpips_alex": _perceptual("lpips_alex"),
    "lpips_squeeze": _perceptual("lpips_squeeze"),
    "lpips_vgg": _perceptual("lpips_vgg"),
    "pd_cifar": _perceptual("cifar"),
    "psnr": _pixels(psnr),
    "ssim": _pixels(ssim),
}
