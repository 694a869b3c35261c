"""Section 4.7 of the paper: how alike the results are when inversion and editing are repeated."""

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
from evaluation.tables.editability import direction_settings, edited_at
from evaluation.tables.inversion import (
    DegradedPhotos,
    Parts,
    Rows,
    described,
    inversion_settings,
    inverted,
    mean_and_deviation,
    measured,
    pixels,
)
from evaluation.tables.table import Table
from inversion.directions.direction import Direction
from inversion.inverter import Inverter
from inversion.tuned_weights import Inversion
from metrics.pairs import PairMeasure
from torch_utils.precision import with_float64

# PSNR in dB and LPIPS on CelebA-HQ.
PAPER = {"degraded": ("44.42 ± 2.71", "0.004 ± 0.003"), "sharp": ("41.84 ± 2.07", "0.006 ± 0.005")}
HEADINGS = {"psnr": ("PSNR", 2), "pd_cifar": ("pd_cifar", 4), "lpips_alex": ("LPIPS", 4)}


@dataclass(frozen=True)
class StabilityOptions:
    """What is repeated.

    Attributes:
        directions: of the edits.
        magnitude: of the edits, to both sides.
        repetitions: of inversion and editing, each with its own seed.
    """

    directions: tuple[Direction, ...]
    magnitude: float = 3.0
    repetitions: int = 3

    def __post_init__(self):
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
    """Return how alike repeated edits of multiple-degraded photos are; goes on where it was stopped.

    Args:
        inverter: how photos are inverted.
        photos: degraded by `RECIPE`.
        options: what is repeated.
        measures: `psnr`, `pd_cifar`, and `lpips_alex` where there are weights; where the network is, or on the CPU
            where that device has no float64.
        outdir: of what is finished.
    """
    repeated = [with_seed(inverter, seed) for seed in range(options.repetitions)]

    def measure(sharp: Tensor, degraded: Tensor) -> Rows:
        runs = [inverted(each, degraded) for each in repeated]
        return [likeness(inverter, found, options, measures) for found in zip(*runs, strict=True)]

    settings = {
        **inversion_settings(inverter),
        **photos.settings,
        "directions": [direction_settings(direction, inverter.G.num_ws) for direction in options.directions],
        "magnitude": options.magnitude,
        "repetitions": options.repetitions,
        "measures": {name: paired.detector and paired.detector.record() for name, paired in measures.items()},
    }
    found = measured(photos, Parts(outdir, "stability", settings), measure)
    names = [name for name in HEADINGS if name in measures]
    columns = ["edited photo", *(HEADINGS[name][0] for name in names), "paper, CelebA-HQ: PSNR", "LPIPS"]
    rows = []
    for side, paper in PAPER.items():
        values = {name: [value for row in found for value in row[side][name]] for name in names}
        rows.append([side, *(mean_and_deviation(values[name], HEADINGS[name][1]) for name in names), *paper])
    directions = ", ".join(direction.name for direction in options.directions)
    notes = [
        f"{len(found)} photos, edited along {directions} by ±{options.magnitude:g} standard deviations, "
        f"{options.repetitions} repetitions compared in pairs; mean ± standard deviation; {described(inverter)}."
    ]
    if all(value == float("inf") for row in found for value in row["degraded"]["psnr"]):
        notes.append("No seed has any effect on such an inversion, so that its repetitions are equal.")
    return Table(
        name="stability",
        title="Section 4.7. Stability of inversion and editing",
        columns=columns,
        rows=rows,
        notes=notes,
        numbers={"photos": found, "names": photos.names, "paper": PAPER, "settings": settings},
    )


def with_seed(inverter: Inverter, seed: int) -> Inverter:
    """Return the same inverter whose projector and tuning draw from another seed."""
    parts = {"projector": inverter.options.projector, "tuning": inverter.options.tuning}
    parts = {name: part and dataclasses.replace(part, seed=part.seed + seed) for name, part in parts.items()}
    other = copy.copy(inverter)
    other.options = dataclasses.replace(inverter.options, **parts)
    return other


@torch.no_grad()
def likeness(
    inverter: Inverter, repetitions: Sequence[Inversion], options: StabilityOptions, measures: dict[str, PairMeasure]
) -> dict[str, dict[str, list[float]]]:
    """Return by quality and measure the likeness of each pair of repetitions, for all directions and magnitudes."""
    strengths = [-options.magnitude, options.magnitude]
    edits = [
        [edited_at(inverter, found, direction, strengths) for direction in options.directions] for found in repetitions
    ]
    result = {}
    for position, side in enumerate(PAPER):
        images = [pixels(torch.cat([pair[position] for pair in edit])) for edit in edits]  # [2 * directions, C, R, R]
        images = [each.to(with_float64(inverter.device)) for each in images]
        pairs = list(itertools.combinations(images, 2))
        result[side] = {
            name: [value for a, b in pairs for value in measure.compare(a, b).tolist()]
            for name, measure in measures.items()
        }
    return result
