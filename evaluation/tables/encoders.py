"""How close encoders come to photos: the columns of the feature-style encoder's Table 1, and those of PadInv."""

import os
import statistics
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import tqdm
from torch import Tensor

from dnnlib.errors import counted
from evaluation.inverted_photos import describe_inverter, inversion_settings, invert_photos, render_photo
from evaluation.part_cache import PartCache
from evaluation.photo_sets import SquarePhotos
from evaluation.tables.restoration_measures import NEEDED_BY_LPIPS
from evaluation.tables.table import Table, number
from images.figures import check_grid_size, labelled_grid
from inversion.inverter import Inverter
from metrics.detector import load_detector
from metrics.distances.frechet import frechet_distance, is_singular, moments
from metrics.pairs import PairMeasure, load_measure
from metrics.weights.directory import WeightsDirectory

SHEET_ROWS = 8  # photos of a sheet, at most
HEADINGS = {"ssim": "SSIM", "psnr": "PSNR", "mse": "MSE on [-1, 1]", "lpips_alex": "LPIPS", "pd_cifar": "pd_cifar"}
HEADINGS |= {"identity": "ID", "fd_cifar": "fd_cifar", "seconds": "s a photo"}
DIGITS = {"ssim": 3, "psnr": 2, "mse": 4, "lpips_alex": 3, "pd_cifar": 3, "identity": 3, "fd_cifar": 4, "seconds": 4}
# On CelebA-HQ (Yao et al. 2022, supplement, Table 1: G and E).
PAPER = {
    "paper, feature-style encoder": {"ssim": 0.641, "psnr": 23.65, "lpips_alex": 0.066, "identity": 0.867},
    "paper, the same without features": {"ssim": 0.489, "psnr": 19.44, "lpips_alex": 0.192, "identity": 0.635},
}


class EncoderMeasures:
    """The measures of reconstructions: those of pairs, of which some need published weights, and features.

    Args:
        weights: directory of the weights of LPIPS and ArcFace.
        device: device of all measures, one with float64.

    Attributes:
        notes: which are left out, and why.
    """

    def __init__(self, weights: WeightsDirectory, device: torch.device) -> None:
        self.device = device
        self.notes: list[str] = []
        names = ["ssim", "psnr"]
        if all(weights.has(name) for name in NEEDED_BY_LPIPS):
            names.append("lpips_alex")
        else:
            names.append("pd_cifar")
            fetch = " ".join(f"--fetch={name}" for name in NEEDED_BY_LPIPS)
            self.notes.append(f"LPIPS needs published weights: `python calc_metrics.py weights {fetch}`.")
        if weights.has("arcface"):
            names.append("identity")
        else:
            self.notes.append(
                "ID, of faces, needs ArcFace: `python calc_metrics.py weights --fetch=arcface` tells how."
            )
        self.pairs: dict[str, PairMeasure] = {name: load_measure(name, weights, device) for name in names}
        self.detector = load_detector("cifar", weights, device)

    @property
    def settings(self) -> dict[str, Any]:
        """All that the numbers depend on, as JSON."""
        detectors = {name: measure.detector and measure.detector.record() for name, measure in self.pairs.items()}
        return {"pairs": detectors, "fd_cifar": self.detector.record()}

    @torch.no_grad()
    def numbers(self, images: Tensor, photos: Tensor) -> dict[str, list[float]]:
        """Return each measure of reconstructions and their photos, uint8 `[N, C, R, R]`."""
        images, photos = images.to(self.device), photos.to(self.device)
        mse = ((images.double() - photos.double()) / 127.5).square().mean((1, 2, 3))
        pairs = {name: measure.compare(images, photos).tolist() for name, measure in self.pairs.items()}
        return pairs | {"mse": mse.tolist()}

    @torch.no_grad()
    def features(self, images: Tensor) -> np.ndarray:
        """Return the embedded detector's features of images uint8 `[N, C, R, R]`, float32 `[N, D]`."""
        assert self.detector.features is not None, "the embedded detector has features"
        return self.detector.features(images.to(self.device)).cpu().numpy()


def encoders_table(
    inverters: Mapping[str, Inverter], photos: SquarePhotos, measures: EncoderMeasures, outdir: str | os.PathLike
) -> Table:
    """Return how close reconstructions come to their photos, a row for each encoder.

    An earlier call that was stopped is continued after the last finished encoder.

    Args:
        inverters: inverters into one network, by the names of their encoders.
        photos: the photos.
        measures: measures of the reconstructions.
        outdir: folder of the finished parts.
    """
    parts = PartCache(outdir, "encoders", {"measures": measures.settings, "images": len(photos), **photos.settings})
    results = {
        name: parts.get(inversion_settings(inverter), partial(_measure, name, inverter, photos, measures))
        for name, inverter in inverters.items()
    }
    names = [name for name in HEADINGS if name in {*measures.pairs, "mse", "fd_cifar", "seconds"}]
    groups = {name: result["means"] for name, result in results.items()} | PAPER
    rows = [[group, *(number(means.get(name), DIGITS[name]) for name in names)] for group, means in groups.items()]
    notes = [f"{name}: {describe_inverter(inverter)}." for name, inverter in inverters.items()]
    kind = "not degraded" if photos.recipe is None else f"degraded by {photos.recipe}"
    notes.append(
        f"{counted(len(photos), 'photo')}, {kind}, against reconstructions; seconds are the median of batches."
    )
    if any(result["singular"] for result in results.values()):
        notes.append(
            f"fd_cifar of only {counted(len(photos), 'photo')} is too large; "
            "compare it with that of as many photos only."
        )
    settings = {name: inverter.settings for name, inverter in inverters.items()}
    numbers = {"results": results, "names": photos.names, "paper": PAPER, "settings": settings}
    title = "Reconstruction of photos by encoders"
    columns = ["encoder", *(HEADINGS[name] for name in names)]
    return Table("encoders", title, columns, rows, notes + measures.notes, numbers)


def encoders_sheet(inverters: Mapping[str, Inverter], photos: SquarePhotos) -> np.ndarray:
    """Return a figure uint8 `[H, W, C]` of the first photos, each with its reconstruction by every encoder."""
    numbers = range(min(SHEET_ROWS, len(photos)))
    check_grid_size(len(numbers), 1 + len(inverters), photos.resolution)
    columns = [photos.images(numbers), *(_reconstructions(each, photos.images(numbers)) for each in inverters.values())]
    tiles = torch.stack(columns, dim=1).permute(0, 1, 3, 4, 2).numpy()  # [rows, columns, R, R, C]
    return labelled_grid(tiles, photos.names[: len(numbers)], ["photo", *inverters])


def _measure(name: str, inverter: Inverter, photos: SquarePhotos, measures: EncoderMeasures) -> dict[str, Any]:
    """Return the numbers of each photo, their means, and those of the whole set."""
    values: dict[str, list[float]] = {}
    seconds, features = [], []
    for numbers in tqdm.tqdm(list(photos.batches()), desc=name, unit="batch", disable=None):
        given = photos.images(numbers)  # [N, C, R, R]
        started = time.perf_counter()
        images = _reconstructions(inverter, given)  # on the CPU, so that all work is done
        seconds.append((time.perf_counter() - started) / len(numbers))
        for measure, each in measures.numbers(images, given).items():
            values.setdefault(measure, []).extend(each)
        features.append([measures.features(images), measures.features(given)])
    means = {measure: statistics.fmean(each) for measure, each in values.items()}
    means["seconds"] = statistics.median(seconds)
    singular = False
    if len(photos) > 1:
        ours, theirs = (moments(np.concatenate(side)) for side in zip(*features, strict=True))
        means["fd_cifar"], singular = frechet_distance(ours, theirs), is_singular(theirs)
    return {"means": means, "singular": singular, "photos": values}


def _reconstructions(inverter: Inverter, photos: Tensor) -> Tensor:
    """Return the reconstructions of photos, both uint8 `[N, C, R, R]`."""
    inversions = invert_photos(inverter, photos)
    return torch.cat([render_photo(inverter, inversion, inversion.latents) for inversion in inversions])
