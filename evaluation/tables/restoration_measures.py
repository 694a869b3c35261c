"""What the table of restoration measures: each restored photo, and all of a track and method together."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import sha256
from evaluation.tables.restoration_sheet import Images, RestorationSheet
from metrics.detector import load_detector
from metrics.distances.frechet import frechet_distance, is_singular, moments
from metrics.distances.pixels import psnr
from metrics.niqe.distance import niqe
from metrics.niqe.pristine import PristineModel, read_pristine
from metrics.pairs import load_measure
from metrics.weights.directory import WeightsDirectory

SIDES = ("degraded", "restored")
DISTANCE = "pd_cifar"  # to the sharp photo; what restoring takes from it is its gain
NEEDED_BY_LPIPS = ("alexnet", "lpips_alex")


class RestorationMeasures:
    """The measures of restored photos: PSNR, SSIM, pd_cifar, fd_cifar, and LPIPS and NIQE where their files exist.

    Args:
        weights: directory of the weights of LPIPS, and of NIQE where no file is named.
        device: device of all measures.
        resolution: side of the photos.
        pristine: file of NIQE's model, or None.

    Raises UserError for a model that is damaged, and for a named one whose blocks are larger than the photos.
    """

    def __init__(
        self, weights: WeightsDirectory, device: torch.device, resolution: int, pristine: str | None = None
    ) -> None:
        self.notes: list[str] = []
        self.device = device
        self.detector = load_detector("cifar", weights, device)
        model, model_file = self._find_pristine(weights, resolution, pristine)
        self.model = model
        self.model_file = model_file
        names = ["psnr", "ssim", DISTANCE]
        if all(weights.has(name) for name in NEEDED_BY_LPIPS):
            names.append("lpips_alex")
        else:
            fetch = " ".join(f"--fetch={name}" for name in NEEDED_BY_LPIPS)
            self.notes.append(f"LPIPS needs published weights: `python calc_metrics.py weights {fetch}`.")
        self.of_pairs = {name: load_measure(name, weights, device) for name in names}

    @property
    def settings(self) -> dict[str, Any]:
        """All that the numbers depend on, as JSON."""
        detectors = [measure.detector.record() for measure in self.of_pairs.values() if measure.detector is not None]
        return {"detectors": detectors, "pristine": self.model_file and sha256(self.model_file)}

    @torch.no_grad()
    def numbers(self, images: Tensor, sharp: Tensor) -> dict[str, list[float]]:
        """Return each measure of images uint8 `[N, C, R, R]`, compared with the sharp ones where it is one of pairs."""
        images, sharp = images.to(self.device), sharp.to(self.device)
        values = {name: measure.compare(images, sharp).tolist() for name, measure in self.of_pairs.items()}
        return values if self.model is None else values | {"niqe": niqe(images, self.model).tolist()}

    @torch.no_grad()
    def features(self, images: Tensor) -> np.ndarray:
        """Return the embedded detector's features of images uint8 `[N, C, R, R]`, float32 `[N, D]`."""
        assert self.detector.features is not None, "the embedded detector has features"
        return self.detector.features(images.to(self.device)).cpu().numpy()

    def _find_pristine(
        self, weights: WeightsDirectory, resolution: int, path: str | None
    ) -> tuple[PristineModel | None, Path | None]:
        """Return NIQE's model and its file; None and a note where there is none for photos of this size."""
        if path is None and not weights.has("niqe"):
            self.notes.append("NIQE needs --pristine=FILE, by `calc_metrics.py fit-niqe`, or the published model.")
            return None, None
        file = Path(path or weights.path("niqe"))
        model = read_pristine(file)
        if model.block <= resolution:
            return model, file
        sentence = f"{file} describes blocks of {model.block} px, larger than photos of {resolution} px"
        if path is not None:
            raise UserError(f"{sentence}; fit one by `calc_metrics.py fit-niqe --block={resolution // 2}`")
        self.notes.append(f"No NIQE: {sentence}.")
        return None, None


@dataclass
class TrackResults:
    """The results of one track and method so far.

    Attributes:
        measures: measures of the photos.
        sheet: photos of the sheet; None: no sheet.
        numbers: numbers of the photos, by side and measure.
        features: features of the photos `[N, D]`, a list for each kind of image.
        reconstruction: PSNR of the reconstructions against the degraded photos, where the method has some.
    """

    measures: RestorationMeasures
    sheet: RestorationSheet | None = None
    numbers: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {side: {} for side in SIDES})
    features: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in ("sharp", *SIDES)})
    reconstruction: list[float] = field(default_factory=list)

    def add(self, names: Sequence[str], images: Images) -> None:
        """Measure a batch of photos, whose names are given."""
        for side in SIDES:
            for name, values in self.measures.numbers(images[side], images["sharp"]).items():
                self.numbers[side].setdefault(name, []).extend(values)
        for name, rows in self.features.items():
            rows.append(self.measures.features(images[name]))
        if "reconstruction" in images:
            self.reconstruction += psnr(images["reconstruction"], images["degraded"]).tolist()
        if self.sheet is not None:
            before, after = (self.numbers[side][DISTANCE][-len(names) :] for side in SIDES)
            self.sheet.add(names, images, [a - b for a, b in zip(before, after, strict=True)])

    def summary(self) -> dict[str, Any]:
        """Return means over the photos, distances of all of them, and each photo's numbers, as JSON."""
        result: dict[str, Any] = {}
        if self.reconstruction:
            result["reconstruction"] = statistics.fmean(self.reconstruction)
        for side in SIDES:
            result[side] = {name: statistics.fmean(values) for name, values in self.numbers[side].items()}
        if len(self.numbers["restored"]["psnr"]) > 1:
            gaussians = {name: moments(np.concatenate(rows)) for name, rows in self.features.items()}
            for side in SIDES:
                result[side]["fd_cifar"] = frechet_distance(gaussians[side], gaussians["sharp"])
            result["singular"] = is_singular(gaussians["sharp"])
        return result | {"photos": {"reconstruction": self.reconstruction, **self.numbers}}
