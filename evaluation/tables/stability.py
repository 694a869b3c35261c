"""Section 4.7 of the paper: the similarity of results when inversion and editing are repeated with other seeds."""

import copy
import dataclasses
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError
from evaluation.inverted_photos import (
    PhotoRecords,
    describe_inverter,
    inversion_settings,
    invert_photos,
    measure_photos,
    quantize,
)
from evaluation.part_cache import PartCache
from evaluation.photo_sets import DegradedPhotos
from evaluation.tables.editability import direction_settings, edited_at
from evaluation.tables.table import Table, mean_and_deviation
from inversion.directions.direction import AnyDirection
from inversion.inverter import Inverter
from inversion.tuned_weights import Inversion
from metrics.pairs import PairMeasure
from torch_utils.precision import with_float64

# PSNR in dB and LPIPS on CelebA-HQ.
PAPER = {"degraded": ("44.42 ± 2.71", "0.004 ± 0.003"), "sharp": ("41.84 ± 2.07", "0.006 ± 0.005")}
HEADINGS = {"psnr": ("PSNR", 2), "pd_cifar": ("pd_cifar", 4), "lpips_alex": ("LPIPS", 4)}


@dataclass(frozen=True)
class StabilityOptions:
    """The edits, and how often they are repeated.

    Attributes:
        directions: directions of the edits.
        magnitude: magnitude of the edits, to both sides.
        repetitions: number of times that inversion and editing are done, each with its own seed.
    """

    directions: tuple[AnyDirection, ...]
    magnitude: float = 3.0
    repetitions: int = 3

    def __post_init__(self) -> None:
        require(self.magnitude > 0, "--magnitude", self.magnitude, "above 0")
        require(self.repetitions >= 2, "--repetitions", self.repetitions, "at least 2")
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

    An earlier call that was stopped is continued.

    Args:
        inverter: inverter of the photos.
        photos: photos degraded by `RECIPE`.
        options: the edits and repetitions.
        measures: measures by name: `psnr`, `pd_cifar`, and `lpips_alex` where there are weights; on the network's
            device, or on the CPU where that device has no float64.
        outdir: folder of the finished parts.
    """
    inverters = [with_seed(inverter, seed) for seed in range(options.repetitions)]

    def measure(sharp: Tensor, degraded: Tensor) -> PhotoRecords:
        repetitions = [invert_photos(each, degraded) for each in inverters]
        return [similarities(inverter, of_photo, options, measures) for of_photo in zip(*repetitions, strict=True)]

    settings = {
        **inversion_settings(inverter),
        **photos.settings,
        "directions": [direction_settings(direction, inverter.G) for direction in options.directions],
        "magnitude": options.magnitude,
        "repetitions": options.repetitions,
        "measures": {name: measure.detector and measure.detector.record() for name, measure in measures.items()},
    }
    records = measure_photos(photos, PartCache(outdir, "stability", settings), measure)
    names = [name for name in HEADINGS if name in measures]
    columns = ["edited photo", *(HEADINGS[name][0] for name in names), "paper, CelebA-HQ: PSNR", "LPIPS"]
    rows = []
    for side, paper in PAPER.items():
        values = {name: [value for record in records for value in record[side][name]] for name in names}
        rows.append([side, *(mean_and_deviation(values[name], HEADINGS[name][1]) for name in names), *paper])
    directions = ", ".join(direction.name for direction in options.directions)
    notes = [
        f"{len(records)} photos, edited along {directions} by ±{options.magnitude:g} standard deviations, "
        f"{options.repetitions} repetitions compared in pairs; mean ± standard deviation; "
        f"{describe_inverter(inverter)}."
    ]
    if all(value == float("inf") for record in records for value in record["degraded"]["psnr"]):
        notes.append("No seed has any effect on such an inversion, so that its repetitions are equal.")
    return Table(
        name="stability",
        title="Section 4.7. Stability of inversion and editing",
        columns=columns,
        rows=rows,
        notes=notes,
        numbers={"photos": records, "names": photos.names, "paper": PAPER, "settings": settings},
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


@torch.no_grad()
def similarities(
    inverter: Inverter, repetitions: Sequence[Inversion], options: StabilityOptions, measures: dict[str, PairMeasure]
) -> dict[str, dict[str, list[float]]]:
    """Return the similarities of each pair of repetitions, for all directions and magnitudes, by quality and measure.

    Args:
        inverter: inverter of the photos.
        repetitions: inversions of one photo with several seeds.
        options: the edits.
        measures: measures by name.
    """
    strengths = [-options.magnitude, options.magnitude]
    edits = [
        [edited_at(inverter, inversion, direction, strengths) for direction in options.directions]
        for inversion in repetitions
    ]
    result = {}
    for position, side in enumerate(PAPER):
        images = [quantize(torch.cat([pair[position] for pair in edit])) for edit in edits]  # [2 * directions, C, R, R]
        images = [each.to(with_float64(inverter.device)) for each in images]
        pairs = list(itertools.combinations(images, 2))
        result[side] = {
            name: [value for a, b in pairs for value in measure.compare(a, b).tolist()]
            for name, measure in measures.items()
        }
    return result
