"""What every detector offers: images in; features, class probabilities or perceptual distances out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.registry import Registry
from metrics.weights.directory import WeightsDirectory

DETECTORS = Registry("metrics.detectors", "detector")


@dataclass(frozen=True)
class Detector:
    """A fixed network that sees images; what it cannot give is None.

    Every function takes images `[N, C, H, W]`, uint8 or float in 0..255, gray or RGB, on the detector's device.

    Attributes:
        name: of its file `detectors/NAME.py`.
        resize: what becomes of images of another size, in a few words; part of every result.
        sha256: of each file of weights, by file name; part of every result.
        features: -> float32 `[N, D]`.
        probabilities: -> float32 `[N, classes]`, rows add up to 1.
        distances: two batches of one shape -> float32 `[N]`, with gradients where the images have them.
    """

    name: str
    resize: str
    sha256: dict[str, str] = field(default_factory=dict)
    features: Callable[[Tensor], Tensor] | None = None
    probabilities: Callable[[Tensor], Tensor] | None = None
    distances: Callable[[Tensor, Tensor], Tensor] | None = None

    def record(self) -> dict[str, Any]:
        """Return what a result says of its detector, as JSON."""
        return {"name": self.name, "sha256": self.sha256, "resize": self.resize}


def load_detector(name: str, weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector called `name`; raise UserError when its weights are missing or something else."""
    return DETECTORS.get(name).load(weights, device)


def rgb(images: Tensor) -> Tensor:
    """Return images as float32 `[N, 3, H, W]` in 0..255; gray ones are repeated."""
    assert images.ndim == 4 and images.shape[1] in (1, 3), f"images of shape {list(images.shape)}"
    return images.float().expand(-1, 3, -1, -1)


def require_finite(values: Tensor, what: str) -> Tensor:
    """Return `values`; raise UserError when any of them is NaN or infinite."""
    if not torch.isfinite(values).all():
        raise UserError(f"{what} are not all finite numbers; the images or the weights are damaged, so replace them")
    return values
