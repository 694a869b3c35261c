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
from evaluation.tables.inversion import (
    DegradedPhotos,
    Parts,
    PhotoOptions,
    described,
    inversion_settings,
    inverted,
    rendered,
)
from evaluation.tables.table import Table, number
from images.figures import check_grid_size, labelled_grid
from images.sheets import save_png
from inversion.inverter import Inverter
from metrics.detector import load_detector
from metrics.distances.frechet import frechet_distance, is_singular, moments
from metrics.distances.pixels import psnr
from metrics.niqe.distance import niqe
from metrics.niqe.pristine import PristineModel, read_pristine
from metrics.pairs import load_measure
from metrics.weights.directory import WeightsDirectory

# (encoder, pivotal tuning)
METHODS = {
    "projector": (False, False),
    "projector+PTI": (False, True),
    "encoder": (True, False),
    "encoder+PTI": (True, True),
}
TRACKS = ("blur", "super_resolution", "noise", "jpeg", "multiple")
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
SHOWN = ("sharp", "degraded", "reconstruction", "restored")  # in a sheet
NEEDED_BY_LPIPS = ("alexnet", "lpips_alex")

Images = dict[str, Tensor]  # by what is SHOWN: uint8 [N, C, R, R]


@dataclass(frozen=True)
class RestorationOptions:
    """What the table has.

    Attributes:
        tracks: kinds of degradation.
        sheet: photos that the sheet of each track and method shows; 0: no sheet.
    """

    tracks: tuple[str, ...] = TRACKS
    sheet: int = 16

    def __post_init__(self):
        require(self.sheet >= 0, "--sheet", self.sheet, "at least 0")


class Judge:
    """Says how good restored photos are; measures without their files are left out.

    Args:
        weights: of LPIPS, and of NIQE where no file is named.
        device: of all measures.
        resolution: of the photos.
        pristine: file of NIQE's model.

    Raises UserError for a model that is damaged, and for a named one whose blocks are larger than the photos.
    """

    def __init__(self, weights: WeightsDirectory, device: torch.device, resolution: int, pristine: str | None = None):
        self.notes: list[str] = []
        self.device = device
        self.features = load_detector("cifar", weights, device).features
        self.model, self.model_file = self._pristine(weights, resolution, pristine)
        names = ["psnr", "ssim", "pd_cifar"]
        if all(weights.has(name) for name in NEEDED_BY_LPIPS):
            names.append("lpips_alex")
        else:
            fetch = " ".join(f"--fetch={name}" for name in NEEDED_BY_LPIPS)
            self.notes.append(f"LPIPS needs published weights: `python calc_metrics.py weights {fetch}`.")
        self.measures = {name: load_measure(name, weights, device) for name in names}

    @property
    def settings(self) -> dict[str, Any]:
        """All that the numbers depend on, as JSON."""
        detectors = [paired.detector.record() for paired in self.measures.values() if paired.detector is not None]
        return {"detectors": detectors, "pristine": self.model_file and sha256(self.model_file)}

    @torch.no_grad()
    def numbers(self, images: Tensor, sharp: Tensor) -> dict[str, list[float]]:
        """Return each measure of images uint8 `[N, C, R, R]`, beside the sharp ones where it compares."""
        images, sharp = images.to(self.device), sharp.to(self.device)
        values = {name: measure.compare(images, sharp).tolist() for name, measure in self.measures.items()}
        return values if self.model is None else values | {"niqe": niqe(images, self.model).tolist()}

    @torch.no_grad()
    def look(self, images: Tensor) -> np.ndarray:
        """Return what the embedded detector sees of images uint8 `[N, C, R, R]`, float32 `[N, D]`."""
        return self.features(images.to(self.device)).cpu().numpy()

    def _pristine(self, weights, resolution, path) -> tuple[PristineModel | None, Path | None]:
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
class _Seen:
    """What was seen of the photos so far: numbers of the measures, what the detector sees, and some of the images."""

    judge: Judge
    kept: int
    numbers: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {side: {} for side in SIDES})
    features: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in ("sharp", *SIDES)})
    reconstruction: list[float] = field(default_factory=list)  # PSNR
    images: list[Images] = field(default_factory=list)

    def add(self, images: Images) -> None:
        for side in SIDES:
            for name, values in self.judge.numbers(images[side], images["sharp"]).items():
                self.numbers[side].setdefault(name, []).extend(values)
        for name, rows in self.features.items():
            rows.append(self.judge.look(images[name]))
        self.reconstruction += psnr(images["reconstruction"], images["degraded"]).tolist()
        if sum(len(batch["sharp"]) for batch in self.images) < self.kept:
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
        """Return the images kept, uint8 `[H, W, C]`."""
        columns = [torch.cat([batch[name] for batch in self.images])[: self.kept] for name in SHOWN]
        images = torch.stack(columns, dim=1).permute(0, 1, 3, 4, 2).numpy()  # [rows, 4, R, R, C]
        return labelled_grid(images, names[: self.kept], SHOWN)


def restoration_table(
    inverters: Mapping[str, Inverter],
    photos: PhotoOptions,
    options: RestorationOptions,
    judge: Judge,
    outdir: str | os.PathLike,
) -> Table:
    """Return the quality of degraded and of restored photos; goes on after the last finished track and method.

    Beside the table, `restoration-TRACK-METHOD.png` shows some photos.

    Args:
        inverters: by method.
        photos: which.
        options: what the table has.
        judge: of the results.
        outdir: of what is finished, and of the sheets.
    """
    first = next(iter(inverters.values()))
    tracks = {track: DegradedPhotos(photos, track, first.G) for track in options.tracks}
    count = len(tracks[options.tracks[0]])
    shown = min(options.sheet, count)
    check_grid_size(shown, len(SHOWN), first.G.img_resolution)
    parts = Parts(outdir, "restoration", {"judge": judge.settings, "images": count, "sheet": shown})
    results: dict[str, dict[str, Any]] = {method: {} for method in inverters}
    total = count * len(tracks) * len(inverters)
    with tqdm.tqdm(total=total, desc="restoration", unit="photo", disable=None) as bar:
        done = 0
        for track, degraded in tracks.items():
            for method, inverter in inverters.items():
                sheet = Path(outdir) / f"restoration-{track}-{method.replace('+', '-')}.png"
                make = partial(_restored, inverter, degraded, judge, shown, sheet, bar)
                part = {**inversion_settings(inverter), **degraded.settings}
                results[method][track] = parts.get(part, make, [sheet] if shown else [])
                done += count
                bar.update(done - bar.n)  # nothing where the part was just made, all of it where it was there
    return _table(results, inverters, judge, count)


def _restored(
    inverter: Inverter, photos: DegradedPhotos, judge: Judge, shown: int, sheet: Path, bar: tqdm.tqdm
) -> dict[str, Any]:
    """Return the numbers of one track and method; write its sheet where any photos are to be shown."""
    seen = _Seen(judge, shown)
    for numbers in photos.batches():
        sharp, degraded = photos.pairs(numbers)
        found = inverted(inverter, degraded)
        reconstruction, restored = (
            torch.cat([rendered(inverter, inversion, latents) for inversion, latents in zip(found, side, strict=True)])
            for side in ([each.latents for each in found], [each.latents.sharp() for each in found])
        )
        seen.add({"sharp": sharp, "degraded": degraded, "reconstruction": reconstruction, "restored": restored})
        bar.update(len(numbers))
    if shown:
        save_png(sheet, seen.sheet(photos.names))
    return seen.summary()


def _table(results: dict[str, dict[str, Any]], inverters: Mapping[str, Inverter], judge: Judge, count: int) -> Table:
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
    notes = [f"{method}: {described(inverter)}." for method, inverter in inverters.items()]
    notes.append(f"{count} photos; all but the last column against the sharp photos, that against the degraded ones.")
    if any(numbers.get("singular") for tracks in results.values() for numbers in tracks.values()):
        notes.append(f"fd_cifar of only {count} photos is too large; compare it with that of as many photos only.")
    numbers = {"results": results, "paper": PAPER, "judge": judge.settings}
    return Table(
        name="restoration",
        title="Table 2. Restoration of degraded photos",
        columns=[*columns, "reconstruction: PSNR"],
        rows=rows,
        notes=notes + judge.notes,
        numbers=numbers | {"settings": {method: each.settings for method, each in inverters.items()}},
    )


def _cells(numbers: dict[str, Any]) -> list[str]:
    """Return the cells of one track and method; empty where there is no number."""
    cells = [number(numbers.get(side, {}).get(name), DIGITS[name]) for side in SIDES for name in HEADINGS]
    return [*cells, number(numbers.get("reconstruction"))]
