"""Supplement C.2 (its Table 3): the mean change of a score by the magnitude of an edit."""

import hashlib
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dnnlib.config import require
from evaluation.choices import COUNT, REACH
from evaluation.inverted_photos import (
    PhotoRecords,
    describe_inverter,
    inversion_settings,
    invert_photos,
    measure_photos,
)
from evaluation.part_cache import PartCache
from evaluation.photo_sets import DegradedPhotos
from evaluation.tables.table import EMPTY, Table, number
from inversion.directions.direction import AnyDirection
from inversion.directions.editing import edited_images
from inversion.directions.scorers import Scorer
from inversion.inverter import Inverter
from inversion.tuned_weights import Inversion
from networks.generators.interface import Generator

# Mean change of the age in years by DEX on CelebA-HQ, at the magnitudes from -3 to 3.
PAPER = {
    "degraded": (4.22, 3.39, 2.72, 1.86, 1.12, 0.6, -0.25, -1.19, -1.97, -2.5),
    "sharp": (15.04, 11.79, 9.16, 6.56, 3.5, 0.72, -1.78, -4.24, -6.12, -7.63),
}


@dataclass(frozen=True)
class EditOptions:
    """The edits whose effect is measured.

    Attributes:
        direction: direction of all edits.
        name: name of the scorer.
        scorer: function of images float `[N, C, R, R]` in [-1, 1] to scores `[N]`, on the network's device.
        scorer_settings: all that the scores depend on, as JSON.
        reach: largest magnitude.
        count: number of magnitudes, which go evenly from -reach to reach.
    """

    direction: AnyDirection
    name: str
    scorer: Scorer
    scorer_settings: Any = None
    reach: float = REACH
    count: int = COUNT

    def __post_init__(self) -> None:
        require(self.reach > 0, "--reach", self.reach, "above 0")
        require(self.count >= 2, "--magnitudes", self.count, "at least 2")

    @property
    def magnitudes(self) -> list[float]:
        """Magnitudes of the edits, from -reach to reach."""
        return torch.linspace(-self.reach, self.reach, self.count, dtype=torch.float64).tolist()


def editability_table(
    inverter: Inverter, photos: DegradedPhotos, options: EditOptions, outdir: str | os.PathLike
) -> Table:
    """Return the mean change of a score by magnitude, of multiple-degraded photos.

    An earlier call that was stopped is continued.

    Args:
        inverter: inverter of the photos.
        photos: photos degraded by `RECIPE`.
        options: the edits.
        outdir: folder of the finished parts.
    """

    def measure(numbers: range, sharp: Tensor, degraded: Tensor) -> PhotoRecords:
        return [score_changes(inverter, inversion, options) for inversion in invert_photos(inverter, degraded)]

    settings = {
        **inversion_settings(inverter),
        **photos.settings,
        "direction": direction_settings(options.direction, inverter.G),
        "scorer": [options.name, options.scorer_settings],
        "magnitudes": options.magnitudes,
    }
    records = measure_photos(photos, PartCache(outdir, "editability", settings), measure)
    changes = {side: _column_means([record[side] for record in records]) for side in PAPER}
    notes = [
        f"{len(records)} photos; {describe_inverter(inverter)}. Direction {options.direction.name}, by "
        f"{options.direction.method}; magnitude 1 is one standard deviation of sampled w along it.",
        "Changes are against the unedited result of the same quality.",
    ]
    return Table(
        name="editability",
        title="Table 3 of the supplement. Mean change of a score by the magnitude of the edit",
        columns=["magnitude", f"{options.name}: degraded", "sharp", "paper, age on CelebA-HQ: degraded", "sharp"],
        rows=_rows(options.magnitudes, changes),
        notes=notes,
        numbers={
            "magnitudes": options.magnitudes,
            "changes": changes,
            "photos": records,
            "names": photos.names,
            "paper": PAPER,
            "settings": settings,
        },
    )


@torch.no_grad()
def score_changes(inverter: Inverter, inversion: Inversion, options: EditOptions) -> dict[str, list[float]]:
    """Return by quality how much each magnitude changes the score of one photo's results."""
    strengths = [0.0, *options.magnitudes]
    sides = zip(PAPER, edited_at(inverter, inversion, options.direction, strengths), strict=True)
    scores = {side: options.scorer(images).double() for side, images in sides}
    return {side: (values[1:] - values[0]).tolist() for side, values in scores.items()}


def edited_at(
    inverter: Inverter, inversion: Inversion, direction: AnyDirection, strengths: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return one photo edited by each strength: with its quality kept, and sharp; float `[S, C, R, R]` in [-1, 1]."""
    latents = inversion.latents.to(inverter.device).repeat(len(strengths))
    with inverter.tuned(inversion) as G:
        kept, sharp = edited_images(G, latents, direction, torch.tensor(strengths))
    return kept.clamp(-1, 1), sharp.clamp(-1, 1)


def direction_settings(direction: AnyDirection, G: Generator) -> dict[str, str]:
    """Return all that edits along a direction depend on, as JSON."""
    steps = [step.float().cpu().contiguous() for _, step in sorted(direction.steps(G).items())]
    digest = hashlib.sha256(b"".join(step.numpy().tobytes() for step in steps))
    return {"name": direction.name, "sha256": digest.hexdigest()}


def _column_means(rows: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def _rows(magnitudes: Sequence[float], changes: dict[str, list[float]]) -> list[list[str]]:
    """Return the rows of the table from the mean changes by quality, one for each magnitude."""
    papers = _papers(magnitudes)
    return [
        [f"{magnitude:.2f}", *(number(changes[side][k], 4) for side in PAPER), *papers[k]]
        for k, magnitude in enumerate(magnitudes)
    ]


def _papers(magnitudes: Sequence[float]) -> list[list[str]]:
    """Return the paper's cells for each magnitude; empty where it has other magnitudes."""
    theirs = torch.linspace(-REACH, REACH, COUNT, dtype=torch.float64).tolist()
    if list(magnitudes) != theirs:
        return [[EMPTY] * len(PAPER)] * len(magnitudes)
    return [[f"{values[k]:.2f}" for values in PAPER.values()] for k in range(COUNT)]
