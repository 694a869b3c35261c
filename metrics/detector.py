"""The interface of detectors: images in; features, class probabilities or perceptual distances out."""

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
    """A fixed network applied to images; outputs that it does not have are None.

    Every function takes images `[N, C, H, W]`, uint8 or float in 0..255, gray or RGB, on the detector's device.

    Attributes:
        name: the detector's name, that of its file `detectors/NAME.py`.
        resize: how images of another size are resized, in a few words; part of every result.
        sha256: SHA-256 of each file of weights, by file name; part of every result.
        features: function to features, float32 `[N, D]`.
        probabilities: function to class probabilities, float32 `[N, classes]`, whose rows add up to 1.
        distances: function of two batches of one shape to distances, float32 `[N]`, with gradients to the images.
    """

    name: str
    resize: str
    sha256: dict[str, str] = field(default_factory=dict)
    features: Callable[[Tensor], Tensor] | None = None
    probabilities: Callable[[Tensor], Tensor] | None = None
    distances: Callable[[Tensor, Tensor], Tensor] | None = None

    def record(self) -> dict[str, Any]:
        """Return the detector's part of a result's record, as JSON."""
        return {"name": self.name, "sha256": self.sha256, "resize": self.resize}


def load_detector(name: str, weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector called `name`; raise UserError when its weights are missing or of another network."""
    return DETECTORS.get(name).load(weights, device)


def to_rgb(images: Tensor) -> Tensor:
    """Return images as float32 `[N, 3, H, W]` in 0..255; a gray channel becomes three equal ones."""
    assert images.ndim == 4 and images.shape[1] in (1, 3), f"images of shape {list(images.shape)}"
    return images.float().expand(-1, 3, -1, -1)


def require_finite(values: Tensor, what: str) -> Tensor:
    """Return `values`; raise UserError when any of them is NaN or infinite."""
    if not torch.isfinite(values).all():
        raise UserError(f"{what} are not all finite numbers; the images or the weights are damaged, so replace them")
    return values
