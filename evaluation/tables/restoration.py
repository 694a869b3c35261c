"""Table 2 of the paper: restoration of photos that were degraded in five ways."""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tqdm
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError
from dnnlib.files import sha256
from evaluation.choices import TRACKS
from evaluation.inverted_photos import describe_inverter, inversion_settings, invert_photos, quantize
from evaluation.part_cache import PartCache
from evaluation.photo_sets import DegradedPhotos, PhotoOptions
from evaluation.tables.table import Table, number
from images.figures import check_grid_size, labelled_grid
from images.ranges import from_levels
from images.sheets import save_png
from inversion.inverter import Inverter
from metrics.detector import load_detector
from metrics.distances.frechet import frechet_distance, is_singular, moments
from metrics.distances.pixels import psnr
from metrics.niqe.distance import niqe
from metrics.niqe.pristine import PristineModel, read_pristine
from metrics.pairs import load_measure
from metrics.weights.directory import WeightsDirectory

# NIQE and LPIPS on CelebA-HQ, by track.
PAPER = {
    "HiFaceGAN": {
        "blur": (5.95, 0.216),
        "super_resolution": (5.32, 0.125),
        "noise": (6.01, 0.126),
        "jpeg": (4.95, 0.053),
        "multiple": (5.916, 0.364),
    },
    "ESRGAN": {"super_resolution": (6.35, 0.148)},
    "DnCNN": {"noise": (6.93, 0.080)},
    "MPRNet": {
        "blur": (8.12, 0.194),
        "super_resolution": (6.73, 0.230),
        "noise": (7.33, 0.143),
        "jpeg": (7.64, 0.128),
        "multiple": (8.97, 0.299),
    },
    "PULSE": {"super_resolution": (6.29, 0.296)},
    "mGANPrior": {"super_resolution": (6.02, 0.265)},
    "GLEAN": {"super_resolution": (7.29, 0.072)},
    "QC-StyleGAN": {
        "blur": (5.83, 0.195),
        "super_resolution": (5.45, 0.177),
        "noise": (5.41, 0.183),
        "jpeg": (4.51, 0.118),
        "multiple": (5.64, 0.260),
    },
}
HEADINGS = {"psnr": "PSNR", "ssim": "SSIM", "pd_cifar": "pd_cifar", "lpips_alex": "LPIPS", "niqe": "NIQE"}
HEADINGS |= {"fd_cifar": "fd_cifar"}
DIGITS = {"psnr": 2, "ssim": 3, "pd_cifar": 3, "lpips_alex": 3, "niqe": 2, "fd_cifar": 4}
SIDES = ("degraded", "restored")
SHEET_COLUMNS = ("sharp", "degraded", "reconstruction", "restored")
NEEDED_BY_LPIPS = ("alexnet", "lpips_alex")

Images = dict[str, Tensor]  # uint8 [N, C, R, R] by SHEET_COLUMNS


@dataclass(frozen=True)
class RestorationOptions:
    """The content of the table.

    Attributes:
        tracks: kinds of degradation.
        sheet: number of photos in the sheet of each track and method; 0: no sheet.
    """

    tracks: tuple[str, ...] = TRACKS
    sheet: int = 16

    def __post_init__(self) -> None:
        require(self.sheet >= 0, "--sheet", self.sheet, "at least 0")


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
        names = ["psnr", "ssim", "pd_cifar"]
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
class _TrackResults:
    """The results of one track and method so far.

    Attributes:
        measures: measures of the photos.
        sheet_rows: number of photos in the sheet.
        numbers: numbers of the photos, by side and measure.
        features: features of the photos `[N, D]`, a list for each kind of image.
        reconstruction: PSNR of the reconstructions against the degraded photos.
        images: images for the sheet.
    """

    measures: RestorationMeasures
    sheet_rows: int
    numbers: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {side: {} for side in SIDES})
    features: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in ("sharp", *SIDES)})
    reconstruction: list[float] = field(default_factory=list)
    images: list[Images] = field(default_factory=list)

    def add(self, images: Images) -> None:
        """Measure a batch of photos."""
        for side in SIDES:
            for name, values in self.measures.numbers(images[side], images["sharp"]).items():
                self.numbers[side].setdefault(name, []).extend(values)
        for name, rows in self.features.items():
            rows.append(self.measures.features(images[name]))
        self.reconstruction += psnr(images["reconstruction"], images["degraded"]).tolist()
        if sum(len(batch["sharp"]) for batch in self.images) < self.sheet_rows:
            self.images.append(images)

    def summary(self) -> dict[str, Any]:
        """Return means over the photos, distances of all of them, and each photo's numbers, as JSON."""
        result: dict[str, Any] = {"reconstruction": statistics.fmean(self.reconstruction)}
        for side in SIDES:
            result[side] = {name: statistics.fmean(values) for name, values in self.numbers[side].items()}
        if len(self.reconstruction) > 1:
            gaussians = {name: moments(np.concatenate(rows)) for name, rows in self.features.items()}
            for side in SIDES:
                result[side]["fd_cifar"] = frechet_distance(gaussians[side], gaussians["sharp"])
            result["singular"] = is_singular(gaussians["sharp"])
        return result | {"photos": {"reconstruction": self.reconstruction, **self.numbers}}

    def sheet(self, names: Sequence[str]) -> np.ndarray:
        """Return the sheet of the first photos, whose names are given, uint8 `[H, W, C]`."""
        columns = [torch.cat([batch[name] for batch in self.images])[: self.sheet_rows] for name in SHEET_COLUMNS]
        images = torch.stack(columns, dim=1).permute(0, 1, 3, 4, 2).numpy()  # [rows, 4, R, R, C]
        return labelled_grid(images, names[: self.sheet_rows], SHEET_COLUMNS)


def restoration_table(
    inverters: Mapping[str, Inverter],
    photos: PhotoOptions,
    options: RestorationOptions,
    measures: RestorationMeasures,
    outdir: str | os.PathLike,
) -> Table:
    """Return the quality of degraded and of restored photos.

    An earlier call that was stopped is continued after the last finished track and method. Beside the table,
    `restoration-TRACK-METHOD.png` shows some photos.

    Args:
        inverters: inverters by method.
        photos: the photos.
        options: the content of the table.
        measures: measures of the photos.
        outdir: folder of the finished parts and of the sheets.
    """
    first = next(iter(inverters.values()))
    tracks = {track: DegradedPhotos(photos, track, first.G) for track in options.tracks}
    count = len(tracks[options.tracks[0]])
    sheet_rows = min(options.sheet, count)
    check_grid_size(sheet_rows, len(SHEET_COLUMNS), first.G.img_resolution)
    parts = PartCache(outdir, "restoration", {"judge": measures.settings, "images": count, "sheet": sheet_rows})
    results: dict[str, dict[str, Any]] = {method: {} for method in inverters}
    total = count * len(tracks) * len(inverters)
    with tqdm.tqdm(total=total, desc="restoration", unit="photo", disable=None) as bar:
        done = 0
        for track, degraded in tracks.items():
            for method, inverter in inverters.items():
                sheet = Path(outdir) / f"restoration-{track}-{method.replace('+', '-')}.png"
                make = partial(_restore, inverter, degraded, measures, sheet_rows, sheet, bar)
                part = {**inversion_settings(inverter), **degraded.settings, "fidelity": inverter.options.fidelity}
                results[method][track] = parts.get(part, make, [sheet] if sheet_rows else [])
                done += count
                bar.update(done - bar.n)  # 0 where the part was just computed, `count` where it was in the cache
    return _table(results, inverters, measures, count)


def _restore(
    inverter: Inverter,
    photos: DegradedPhotos,
    measures: RestorationMeasures,
    sheet_rows: int,
    sheet: Path,
    bar: tqdm.tqdm,
) -> dict[str, Any]:
    """Return the numbers of one track and method; write its sheet unless it has no rows."""
    results = _TrackResults(measures, sheet_rows)
    for numbers in photos.batches():
        sharp, degraded = photos.pairs(numbers)  # [N, C, R, R]
        inversions = invert_photos(inverter, degraded)
        targets = from_levels(degraded).split(1)  # [1, C, R, R] each
        restorations = [inverter.restore(each, target) for each, target in zip(inversions, targets, strict=True)]
        reconstruction = torch.cat([quantize(each.reconstruction) for each in restorations])
        restored = torch.cat([quantize(each.restored) for each in restorations])
        results.add({"sharp": sharp, "degraded": degraded, "reconstruction": reconstruction, "restored": restored})
        bar.update(len(numbers))
    if sheet_rows:
        save_png(sheet, results.sheet(photos.names))
    return results.summary()


def _table(
    results: dict[str, dict[str, Any]], inverters: Mapping[str, Inverter], measures: RestorationMeasures, count: int
) -> Table:
    """Return the table of the numbers of `count` photos, by method and track."""
    tracks = next(iter(results.values()))
    groups = results | {
        f"paper, CelebA-HQ, {method}": {
            track: {"restored": dict(zip(("niqe", "lpips_alex"), papers[track], strict=True))}
            for track in tracks
            if track in papers
        }
        for method, papers in PAPER.items()
    }
    rows = [[f"{group}: {track}", *_cells(numbers)] for group, of in groups.items() for track, numbers in of.items()]
    columns = [""] + [f"{side}: {heading}" for side in SIDES for heading in HEADINGS.values()]
    notes = [f"{method}: {describe_inverter(inverter)}." for method, inverter in inverters.items()]
    notes.append(f"{count} photos; all but the last column against the sharp photos, that against the degraded ones.")
    if any(numbers.get("singular") for tracks in results.values() for numbers in tracks.values()):
        notes.append(f"fd_cifar of only {count} photos is too large; compare it with that of as many photos only.")
    numbers = {"results": results, "paper": PAPER, "judge": measures.settings}
    return Table(
        name="restoration",
        title="Table 2. Restoration of degraded photos",
        columns=[*columns, "reconstruction: PSNR"],
        rows=rows,
        notes=notes + measures.notes,
        numbers=numbers | {"settings": {method: each.settings for method, each in inverters.items()}},
    )


def _cells(numbers: dict[str, Any]) -> list[str]:
    """Return the cells of one track and method; a cell without number is empty."""
    cells = [number(numbers.get(side, {}).get(name), DIGITS[name]) for side in SIDES for name in HEADINGS]
    return [*cells, number(numbers.get("reconstruction"))]
