"""What any method has to beat: the degraded photo itself, and one classical filter for each track."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError
from evaluation.photo_sets import DegradedPhotos
from evaluation.restorers.deconvolution import ITERATIONS, NOISE_TO_SIGNAL, blur_size, richardson_lucy, wiener
from evaluation.restorers.restorer import RestoredPhotos, Restorer

FACTOR = 4  # reduction of the sides in the track super_resolution
# Strength of non-local means, in levels; what JPEG adds depends on the quality, which a photo does not tell.
JPEG_STRENGTH = 5.0
FILTERS = {
    "blur": "Wiener's filter for a Gaussian of a third of training's range of sizes",
    "super_resolution": "the small photo, recovered and enlarged by bicubic interpolation",
    "noise": "non-local means at the strength of the estimated noise",
    "jpeg": f"non-local means at strength {JPEG_STRENGTH:g}",
    "multiple": "non-local means at the strength of the estimated noise",
    "slight": "non-local means at the strength of the estimated noise",
}


class Unchanged(Restorer):
    """The degraded photos, as they are."""

    def settings(self, photos: DegradedPhotos) -> dict[str, Any]:
        return {"baseline": "input"}

    def describe(self) -> str:
        return "the degraded photo itself"

    def restore(self, photos: DegradedPhotos, numbers: Sequence[int], degraded: Tensor) -> RestoredPhotos:
        return RestoredPhotos(degraded)


class Classical(Restorer):
    """One filter for each track, without anything learned; it knows the track, but not what was done to a photo."""

    def settings(self, photos: DegradedPhotos) -> dict[str, Any]:
        return {"baseline": FILTERS[photos.track], "noise_to_signal": NOISE_TO_SIGNAL, "opencv": cv2.__version__}

    def describe(self) -> str:
        return "; ".join(f"{track}: {words}" for track, words in FILTERS.items())

    def restore(self, photos: DegradedPhotos, numbers: Sequence[int], degraded: Tensor) -> RestoredPhotos:
        images = [restore_classically(image, photos.track) for image in degraded.permute(0, 2, 3, 1).numpy()]
        return RestoredPhotos(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))


class RichardsonLucy(Restorer):
    """Iterations of Richardson and Lucy for photos of the track blur; it knows as much as Wiener's filter there."""

    def settings(self, photos: DegradedPhotos) -> dict[str, Any]:
        return {"baseline": "richardson-lucy", "iterations": ITERATIONS, "opencv": cv2.__version__}

    def describe(self) -> str:
        return f"{ITERATIONS} iterations of Richardson and Lucy for the Gaussian of the classical filter"

    def check(self, photos: DegradedPhotos) -> None:
        if photos.track != "blur":
            raise UserError(
                f"--baseline=richardson-lucy restores blurred photos alone, and --track={photos.track} is another "
                "track; choose --track=blur alone, or leave the baseline out"
            )

    def restore(self, photos: DegradedPhotos, numbers: Sequence[int], degraded: Tensor) -> RestoredPhotos:
        images = [richardson_lucy(image, blur_size(image.shape[1])) for image in degraded.permute(0, 2, 3, 1).numpy()]
        return RestoredPhotos(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))


def restore_classically(image: np.ndarray, track: str) -> np.ndarray:
    """Return a photo uint8 `[H, W, 1 or 3]` restored by the filter of a track."""
    if track == "blur":
        return wiener(image, blur_size(image.shape[1]))
    if track == "super_resolution":
        return enlarge_bicubic(shrunk(image))
    return denoise(image, JPEG_STRENGTH if track == "jpeg" else noise_level(image))


def denoise(image: np.ndarray, strength: float) -> np.ndarray:
    """Return non-local means (Buades et al. 2005) of uint8 `[H, W, 1 or 3]`; the strength is in levels."""
    if image.shape[2] == 1:
        return cv2.fastNlMeansDenoising(image, None, strength)[:, :, np.newaxis]
    bgr = cv2.fastNlMeansDenoisingColored(image[:, :, ::-1].copy(), None, strength, strength)
    return bgr[:, :, ::-1].copy()


def noise_level(image: np.ndarray) -> float:
    """Return the standard deviation of noise in uint8 `[H, W, C]`, in levels (Immerkaer 1996).

    A difference of two Laplacians is blind to edges and slopes, and grows with noise.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    filtered = cv2.filter2D(image.astype(np.float32), -1, mask).reshape(image.shape)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(filtered).mean())


def shrunk(image: np.ndarray) -> np.ndarray:
    """Return the small photo, float `[H / 4, W / 4, C]`, whose bilinear enlargement is nearest to uint8 `[H, W, C]`."""
    rows, columns = (np.linalg.pinv(_enlargement(side)) for side in image.shape[:2])
    return np.einsum("ah,hwc,bw->abc", rows, image.astype(np.float64), columns)


def enlarge_bicubic(image: np.ndarray) -> np.ndarray:
    """Return float `[h, w, C]` enlarged by 4, uint8."""
    height, width, channels = image.shape
    large = cv2.resize(image, (FACTOR * width, FACTOR * height), interpolation=cv2.INTER_CUBIC)
    return _levels(large.reshape(FACTOR * height, FACTOR * width, channels))


def _enlargement(side: int) -> np.ndarray:
    """Return the matrix `[side, side / 4]` of bilinear enlargement along one axis."""
    small = max(1, round(side / FACTOR))
    return cv2.resize(np.eye(small), (small, side), interpolation=cv2.INTER_LINEAR)


def _levels(image: np.ndarray) -> np.ndarray:
    return image.round().clip(0, 255).astype(np.uint8)
