"""Section 4.7 of the paper: the similarity of results when inversion and editing are repeated with other seeds."""

import copy
import dataclasses
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError, counted
from evaluation.inverted_photos import (
    PhotoRecords,
    describe_inverter,
    inversion_settings,
    invert_photos,
    measure_photos,
    quantize,
)
from evaluation.masks import Masks, compare_within
from evaluation.part_cache import PartCache
from evaluation.photo_sets import DegradedPhotos
from evaluation.tables.editability import direction_settings, edited_at
from evaluation.tables.table import Table, mean_and_deviation
from images.figures import labelled_grid
from images.video.writer import write_mp4
from inversion.directions.direction import AnyDirection
from inversion.directions.following import YIELDING
from inversion.inverter import Inverter
from inversion.tuned_weights import Inversion
from metrics.pairs import PairMeasure
from torch_utils.precision import with_float64

# PSNR in dB and LPIPS on CelebA-HQ.
PAPER = {"degraded": ("44.42 ± 2.71", "0.004 ± 0.003"), "sharp": ("41.84 ± 2.07", "0.006 ± 0.005")}
PAPER_OF_FACES = {"degraded": ("47.18 ± 2.27", "0.0013 ± 0.0006"), "sharp": ("43.67 ± 2.28", "0.0028 ± 0.0013")}
LOOPS, FPS = 4, 3.0  # in videos: how often all repetitions are shown, and frames a second
HEADINGS = {"psnr": ("PSNR", 2), "pd_cifar": ("pd_cifar", 4), "lpips_alex": ("LPIPS", 4)}

Edits = dict[str, Tensor]  # uint8 [edits, C, R, R] by quality


@dataclass(frozen=True)
class StabilityOptions:
    """The edits, and how often they are repeated.

    Attributes:
        directions: directions of the edits.
        magnitude: magnitude of the edits, to both sides.
        repetitions: number of times that inversion and editing are done, each with its own seed.
        mask: masks of the faces, which are measured besides; see `evaluation.masks`. None: whole photos only.
        videos: number of photos, the first ones, whose repetitions are shown in a video each.
        yielding: how far features yield to the network's own, see `inversion.directions.following`.
    """

    directions: tuple[AnyDirection, ...]
    magnitude: float = 3.0
    repetitions: int = 3
    mask: str | None = None
    videos: int = 0
    yielding: float = YIELDING

    def __post_init__(self) -> None:
        require(self.magnitude > 0, "--magnitude", self.magnitude, "above 0")
        require(self.repetitions >= 2, "--repetitions", self.repetitions, "at least 2")
        require(self.videos >= 0, "--videos", self.videos, "at least 0")
        if not self.directions:
            raise UserError("there is nothing to edit; give --direction=FILE")


def stability_table(
    inverter: Inverter,
    photos: DegradedPhotos,
    options: StabilityOptions,
    measures: dict[str, PairMeasure],
    outdir: str | os.PathLike,
) -> Table:
    """Return the similarity of repeated edits of multiple-degraded photos.

    An earlier call that was stopped is continued. Beside the table, `stability-PHOTO.mp4` shows the repetitions.

    Args:
        inverter: inverter of the photos.
        photos: photos degraded by `RECIPE`.
        options: the edits and repetitions.
        measures: measures by name: `psnr`, `pd_cifar`, and `lpips_alex` where there are weights; on the network's
            device, or on the CPU where that device has no float64.
        outdir: folder of the finished parts.
    """
    inverters = [with_seed(inverter, seed) for seed in range(options.repetitions)]

    masks = None if options.mask is None else Masks(options.mask, photos)
    names = photos.names

    def videos(numbers: range) -> list[Path]:
        return [Path(outdir) / f"stability-{names[number]}.mp4" for number in numbers if number < options.videos]

    def measure(numbers: range, sharp: Tensor, degraded: Tensor) -> PhotoRecords:
        repetitions = [invert_photos(each, degraded) for each in inverters]
        edited = [edits_of(inverter, of_photo, options) for of_photo in zip(*repetitions, strict=True)]
        for path, edits in zip(videos(numbers), edited, strict=False):
            write_mp4(path, frames(edits, options) * LOOPS, FPS)
        device = with_float64(inverter.device)
        return [
            similarities(edits, measures, device, None if masks is None else masks[number])
            for number, edits in zip(numbers, edited, strict=True)
        ]

    settings = {
        **inversion_settings(inverter),
        **photos.settings,
        "directions": [direction_settings(direction, inverter.G) for direction in options.directions],
        "magnitude": options.magnitude,
        "repetitions": options.repetitions,
        "yielding": options.yielding,
        "mask": None if masks is None else masks.settings,
        "measures": {name: measure.detector and measure.detector.record() for name, measure in measures.items()},
    }
    records = measure_photos(photos, PartCache(outdir, "stability", settings), measure, videos)
    shown = [name for name in HEADINGS if name in measures]
    columns = ["edited photo", *(HEADINGS[name][0] for name in shown), "paper, CelebA-HQ: PSNR", "LPIPS"]
    papers = PAPER if masks is None else PAPER | {of_face(side): cells for side, cells in PAPER_OF_FACES.items()}
    rows = []
    for side, paper in papers.items():
        values = {name: [value for record in records for value in record[side][name]] for name in shown}
        rows.append([side, *(mean_and_deviation(values[name], HEADINGS[name][1]) for name in shown), *paper])
    directions = ", ".join(direction.name for direction in options.directions)
    notes = [
        f"{counted(len(records), 'photo')}, edited along {directions} by ±{options.magnitude:g} standard deviations, "
        f"{options.repetitions} repetitions compared in pairs; mean ± standard deviation; "
        f"{describe_inverter(inverter)}."
    ]
    if masks is not None:
        notes.append(
            f"Faces alone: {masks.description}; PSNR of its pixels, distances of images that are gray outside."
        )
    if all(value == float("inf") for record in records for value in record["degraded"]["psnr"]):
        notes.append("No seed has any effect on such an inversion, so that its repetitions are equal.")
    return Table(
        name="stability",
        title="Section 4.7. Stability of inversion and editing",
        columns=columns,
        rows=rows,
        notes=notes,
        numbers={"photos": records, "names": names, "paper": papers, "settings": settings},
    )


def with_seed(inverter: Inverter, seed: int) -> Inverter:
    """Return the inverter with projector and tuning whose seeds are larger by `seed`."""
    projector, tuning = inverter.options.projector, inverter.options.tuning
    other = copy.copy(inverter)
    other.options = dataclasses.replace(
        inverter.options,
        projector=projector and dataclasses.replace(projector, seed=projector.seed + seed),
        tuning=tuning and dataclasses.replace(tuning, seed=tuning.seed + seed),
    )
    return other


def of_face(side: str) -> str:
    """Return the name of the row where only faces count."""
    return f"{side}, the face alone"


@torch.no_grad()
def edits_of(inverter: Inverter, repetitions: Sequence[Inversion], options: StabilityOptions) -> list[Edits]:
    """Return the edits of each repetition, uint8 `[2 * directions, C, R, R]` by quality, on the CPU.

    Args:
        inverter: inverter of the photos.
        repetitions: inversions of one photo with several seeds.
        options: the edits.
    """
    strengths = [-options.magnitude, options.magnitude]
    result = []
    for inversion in repetitions:
        edited = [
            edited_at(inverter, inversion, direction, strengths, options.yielding) for direction in options.directions
        ]
        result.append({side: quantize(torch.cat([pair[k] for pair in edited])) for k, side in enumerate(PAPER)})
    return result


@torch.no_grad()
def similarities(
    edits: Sequence[Edits], measures: dict[str, PairMeasure], device: torch.device, mask: Tensor | None = None
) -> dict[str, dict[str, list[float]]]:
    """Return the similarities of each pair of repetitions, for all directions and magnitudes, by quality and measure.

    Args:
        edits: edits of one photo, of each repetition.
        measures: measures by name.
        device: device that computes them.
        mask: the face, bool `[R, R]`, which is measured besides; None: the whole photo only.
    """
    result: dict[str, dict[str, list[float]]] = {}
    for side in PAPER:
        pairs = list(itertools.combinations([edit[side].to(device) for edit in edits], 2))
        result[side] = {
            name: [value for a, b in pairs for value in measure.compare(a, b).tolist()]
            for name, measure in measures.items()
        }
        if mask is not None:
            result[of_face(side)] = {
                name: [value for a, b in pairs for value in compare_within(measure, name, a, b, mask)]
                for name, measure in measures.items()
            }
    return result


def frames(edits: Sequence[Edits], options: StabilityOptions) -> list[np.ndarray]:
    """Return a figure of each repetition, uint8 `[H, W, C]`: a row of edits that keep the quality, and a sharp one."""
    columns = [f"{each.name} {sign}{options.magnitude:g}" for each in options.directions for sign in "-+"]
    figures = []
    for edit in edits:
        rows = torch.stack([edit[side] for side in PAPER]).permute(0, 1, 3, 4, 2).numpy()  # [2, edits, R, R, C]
        figures.append(labelled_grid(rows, list(PAPER), columns))
    return figures
