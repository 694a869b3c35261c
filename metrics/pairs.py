"""Measures of pairs of images, by name: PSNR, SSIM, LPIPS, identity of faces, and the distance pd_cifar."""

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
class PairMeasure:
    """A measure of pairs of images.

    Attributes:
        compare: function of two batches `[N, C, H, W]`, uint8 or float in 0..255, to numbers `[N]`.
        detector: detector that the measure uses, or None.
    """

    compare: Callable[[Tensor, Tensor], Tensor]
    detector: Detector | None = None


def load_measure(name: str, weights: WeightsDirectory, device: torch.device) -> PairMeasure:
    """Return the measure called `name`; raise UserError when its weights are missing or of another network."""
    if name not in MEASURES:
        raise unknown_name("measure of pairs", name, sorted(MEASURES))
    return MEASURES[name](weights, device)


Loader = Callable[[WeightsDirectory, torch.device], PairMeasure]


def _pixels(compare: Callable[[Tensor, Tensor], Tensor]) -> Loader:
    """Return the loader of a measure that needs no weights."""
    return lambda weights, device: PairMeasure(compare)


def _perceptual(detector_name: str) -> Loader:
    """Return the loader of the perceptual distance that a detector defines."""

    def load(weights: WeightsDirectory, device: torch.device) -> PairMeasure:
        detector = load_detector(detector_name, weights, device)
        assert detector.distances is not None, f"{detector_name} has no distances"
        return PairMeasure(detector.distances, detector)

    return load


def _identity(weights: WeightsDirectory, device: torch.device) -> PairMeasure:
    detector = load_detector("arcface", weights, device)
    embed = detector.features
    assert embed is not None, "arcface has no features"
    return PairMeasure(lambda a, b: similarity(embed(a), embed(b)), detector)


# Loaders by name. PSNR (dB), SSIM and the cosine of ArcFace embeddings (Deng et al. 2019) are larger for similar
# images; LPIPS (Zhang et al. 2018) and pd_cifar, the distance of the embedded detector, are smaller.
MEASURES: dict[str, Loader] = {
    "identity": _identity,
    "lpips_alex": _perceptual("lpips_alex"),
    "lpips_squeeze": _perceptual("lpips_squeeze"),
    "lpips_vgg": _perceptual("lpips_vgg"),
    "pd_cifar": _perceptual("cifar"),
    "psnr": _pixels(psnr),
    "ssim": _pixels(ssim),
}
