"""Restoration by inversion into a network: with a quality code that becomes zero, or into a sharp network alone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evaluation.inverted_photos import describe_inverter, inversion_settings, invert_photos, quantize, render_photo
from evaluation.photo_sets import DegradedPhotos
from evaluation.restorers.restorer import RestoredPhotos, Restorer
from images.ranges import from_levels
from inversion.inverter import Inverter


class ByInversion(Restorer):
    """The paper's method: photos are inverted, and their quality codes become zero."""

    def __init__(self, inverter: Inverter) -> None:
        self.inverter = inverter

    def settings(self, photos: DegradedPhotos) -> dict[str, Any]:
        return {**inversion_settings(self.inverter), "fidelity": self.inverter.options.fidelity}

    def describe(self) -> str:
        return describe_inverter(self.inverter)

    def restore(self, photos: DegradedPhotos, numbers: Sequence[int], degraded: Tensor) -> RestoredPhotos:
        inversions = invert_photos(self.inverter, degraded)
        targets = from_levels(degraded).split(1)  # [1, C, R, R] each
        restorations = [self.inverter.restore(each, target) for each, target in zip(inversions, targets, strict=True)]
        reconstruction = torch.cat([quantize(each.reconstruction) for each in restorations])
        restored = torch.cat([quantize(each.restored) for each in restorations])
        return RestoredPhotos(restored, reconstruction)


class BySearch(Restorer):
    """Search as in PULSE (Menon et al. 2020): what comes closest to the degraded photo among sharp images.

    PULSE compares after shrinking, since it knows the degradation; here nothing is known about it, and images are
    compared as they are.
    """

    def __init__(self, inverter: Inverter) -> None:
        assert inverter.G.q_dim == 0, "the images of a sharp network are searched"
        self.inverter = inverter

    def settings(self, photos: DegradedPhotos) -> dict[str, Any]:
        return {"search": inversion_settings(self.inverter)}

    def describe(self) -> str:
        return (
            f"{describe_inverter(self.inverter)} on the plain network, as PULSE searches; what is found is the result"
        )

    def restore(self, photos: DegradedPhotos, numbers: Sequence[int], degraded: Tensor) -> RestoredPhotos:
        found = invert_photos(self.inverter, degraded)
        images = torch.cat([render_photo(self.inverter, each, each.latents) for each in found])
        return RestoredPhotos(images, images)
