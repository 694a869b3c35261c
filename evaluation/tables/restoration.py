"""Table 2 of the paper: restoration of photos that were degraded in five ways."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tqdm

from dnnlib.config import require
from dnnlib.errors import counted
from evaluation.choices import TRACKS
from evaluation.part_cache import PartCache
from evaluation.photo_sets import DegradedPhotos, PhotoOptions
from evaluation.restorers.inverting import ByInversion
from evaluation.restorers.restorer import Restorer
from evaluation.tables.restoration_measures import (
    SIDES,
    RestorationMeasures,
    TrackResults,
)
from evaluation.tables.restoration_sheet import SHEET_COLUMNS, RestorationSheet
from evaluation.tables.table import Table, number
from images.figures import check_grid_size
from images.sheets import save_png
from inversion.inverter import Inverter

NO_OTHERS: Mapping[str, Restorer] = MappingProxyType({})

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
LARGER_IS_BETTER = ("psnr", "ssim")

Results = dict[str, dict[str, dict[str, Any]]]  # numbers by method and track


@dataclass(frozen=True)
class RestorationOptions:
    """The content of the table.

    Attributes:
        tracks: kinds of degradation.
        sheet: number of photos in the sheet of each track and method; 0: no sheet.
        extremes: the sheet has the photos that gain most and least by restoring instead of the first ones.
    """

    tracks: tuple[str, ...] = TRACKS
    sheet: int = 16
    extremes: bool = False

    def __post_init__(self) -> None:
        require(self.sheet >= 0, "--sheet", self.sheet, "at least 0")


def restoration_table(
    inverters: Mapping[str, Inverter],
    photos: PhotoOptions,
    options: RestorationOptions,
    measures: RestorationMeasures,
    outdir: str | os.PathLike,
    others: Mapping[str, Restorer] = NO_OTHERS,
) -> Table:
    """Return the quality of degraded and of restored photos, and the rank of each method among all.

    An earlier call that was stopped is continued after the last finished track and method. Beside the table,
    `restoration-TRACK-METHOD.png` shows some photos.

    Args:
        inverters: inverters by method.
        photos: the photos.
        options: the content of the table.
        measures: measures of the photos.
        outdir: folder of the finished parts and of the sheets.
        others: what the inverters are compared with, by name.
    """
    restorers: dict[str, Restorer] = {name: ByInversion(inverter) for name, inverter in inverters.items()} | dict(
        others
    )
    G = next(iter(inverters.values())).G
    tracks = {track: DegradedPhotos(photos, track, G) for track in options.tracks}
    for degraded in tracks.values():
        for restorer in restorers.values():
            restorer.check(degraded)
    count = len(tracks[options.tracks[0]])
    rows = min(options.sheet, count)
    check_grid_size(rows, len(SHEET_COLUMNS), G.img_resolution)
    settings = {"judge": measures.settings, "images": count, "sheet": rows, "extremes": options.extremes}
    parts = PartCache(outdir, "restoration", settings)
    results: Results = {name: {} for name in restorers}
    with tqdm.tqdm(total=count * len(tracks) * len(restorers), desc="restoration", unit="photo", disable=None) as bar:
        done = 0
        for track, degraded in tracks.items():
            for name, restorer in restorers.items():
                path = Path(outdir) / f"restoration-{track}-{name.replace('+', '-')}.png"
                sheet = RestorationSheet(rows, options.extremes) if rows else None
                make = partial(_restore, restorer, degraded, measures, sheet, path, bar)
                part = {**restorer.settings(degraded), **degraded.settings}
                results[name][track] = parts.get(part, make, [path] if rows else [])
                done += count
                bar.update(done - bar.n)  # 0 where the part was just computed, `count` where it was in the cache
    of_methods = {method: each.settings for method, each in inverters.items()}
    return _table(results, restorers, of_methods, measures, count)


def ranks(results: Results) -> Results:
    """Return by method, track and measure the rank among all methods: one more than how many are better."""
    found: Results = {method: {track: {} for track in tracks} for method, tracks in results.items()}
    for method, tracks in results.items():
        for track, numbers in tracks.items():
            for name, value in numbers["restored"].items():
                rivals = [of[track]["restored"][name] for of in results.values()]
                sign = -1 if name in LARGER_IS_BETTER else 1
                found[method][track][name] = 1 + sum(sign * rival < sign * value for rival in rivals)
    return found


def _restore(
    restorer: Restorer,
    photos: DegradedPhotos,
    measures: RestorationMeasures,
    sheet: RestorationSheet | None,
    path: Path,
    bar: tqdm.tqdm,
) -> dict[str, Any]:
    """Return the numbers of one track and method; write its sheet to `path` if there is to be one."""
    results = TrackResults(measures, sheet)
    for numbers in photos.batches():
        sharp, degraded = photos.pairs(numbers)  # [N, C, R, R]
        restored = restorer.restore(photos, numbers, degraded)
        images = {"sharp": sharp, "degraded": degraded, "restored": restored.restored}
        if restored.reconstruction is not None:
            images["reconstruction"] = restored.reconstruction
        results.add([photos.names[number] for number in numbers], images)
        bar.update(len(numbers))
    if sheet is not None:
        save_png(path, sheet.draw())
    return results.summary()


def _table(
    results: Results,
    restorers: Mapping[str, Restorer],
    settings: dict[str, Any],
    measures: RestorationMeasures,
    count: int,
) -> Table:
    """Return the table of the numbers of `count` photos, by method and track."""
    ranked = ranks(results)
    tracks = next(iter(results.values()))
    groups = results | {
        f"paper, CelebA-HQ, {method}": {
            track: {"restored": dict(zip(("niqe", "lpips_alex"), papers[track], strict=True))}
            for track in tracks
            if track in papers
        }
        for method, papers in PAPER.items()
    }
    rows = [
        [f"{group}: {track}", *_cells(numbers, ranked.get(group, {}).get(track, {}))]
        for group, of in groups.items()
        for track, numbers in of.items()
    ]
    columns = ["", *(f"{side}: {heading}" for side in SIDES for heading in HEADINGS.values())]
    columns += ["reconstruction: PSNR", *(f"rank: {heading}" for heading in HEADINGS.values())]
    notes = [f"{method}: {restorer.describe()}." for method, restorer in restorers.items()]
    notes.append(
        f"{counted(count, 'photo')}, compared with the sharp ones; reconstructions are compared with the degraded ones."
    )
    notes.append(f"Ranks among {counted(len(results), 'method')} on the same photos; 1 is the best.")
    if any(numbers.get("singular") for of in results.values() for numbers in of.values()):
        notes.append(
            f"fd_cifar of only {counted(count, 'photo')} is too large; compare it with that of as many photos only."
        )
    numbers = {"results": results, "ranks": ranked, "paper": PAPER, "judge": measures.settings, "settings": settings}
    return Table(
        name="restoration",
        title="Table 2. Restoration of degraded photos",
        columns=columns,
        rows=rows,
        notes=notes + measures.notes,
        numbers=numbers,
    )


def _cells(numbers: dict[str, Any], ranked: dict[str, int]) -> list[str]:
    """Return the cells of one track and method; a cell without number is empty."""
    cells = [number(numbers.get(side, {}).get(name), DIGITS[name]) for side in SIDES for name in HEADINGS]
    return [*cells, number(numbers.get("reconstruction")), *(number(ranked.get(name), 0) for name in HEADINGS)]
