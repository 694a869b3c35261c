"""Supplement C.2 (its Table 3): the mean change of a score by the magnitude of an edit."""

import hashlib
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import counted
from evaluation.choices import COUNT, REACH
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
from evaluation.tables.table import EMPTY, Table, number
from images.figures import labelled_grid
from inversion.directions.direction import AnyDirection
from inversion.directions.editing import edited_images
from inversion.directions.following import YIELDING
from inversion.directions.scorers import Scorer
from inversion.inverter import Inverter
from inversion.tuned_weights import Inversion
from networks.generators.interface import Generator

# Mean change of the age in years by DEX on CelebA-HQ, at the magnitudes from -3 to 3.
PAPER = {
    "degraded": (4.22, 3.39, 2.72, 1.86, 1.12, 0.6, -0.25, -1.19, -1.97, -2.5),
    "sharp": (15.04, 11.79, 9.16, 6.56, 3.5, 0.72, -1.78, -4.24, -6.12, -7.63),
}

BASE = "the plain network"
SHEET_COLUMNS = ("sharp", "degraded", "ours", "edited", "ours sharp", "edited", "plain", "edited")


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
        yielding: how far features yield to the network's own, see `inversion.directions.following`.
    """

    direction: AnyDirection
    name: str
    scorer: Scorer
    scorer_settings: Any = None
    reach: float = REACH
    count: int = COUNT
    yielding: float = YIELDING

    def __post_init__(self) -> None:
        require(self.reach > 0, "--reach", self.reach, "above 0")
        require(self.count >= 2, "--magnitudes", self.count, "at least 2")

    @property
    def magnitudes(self) -> list[float]:
        """Magnitudes of the edits, from -reach to reach."""
        return torch.linspace(-self.reach, self.reach, self.count, dtype=torch.float64).tolist()


def editability_table(
    inverter: Inverter,
    photos: DegradedPhotos,
    options: EditOptions,
    outdir: str | os.PathLike,
    base: tuple[Inverter, EditOptions] | None = None,
) -> Table:
    """Return the mean change of a score by magnitude, of multiple-degraded photos.

    An earlier call that was stopped is continued.

    Args:
        inverter: inverter of the photos.
        photos: photos degraded by `RECIPE`.
        options: the edits.
        outdir: folder of the finished parts.
        base: inverter into a plain network, and its edits, for another column (supplement, C.1).
    """
    records, settings = _records(inverter, photos, options, outdir)
    changes = {side: _column_means([record[side] for record in records]) for side in PAPER}
    columns = [f"{options.name}: degraded", "sharp"]
    notes = [
        f"{counted(len(records), 'photo')}; {describe_inverter(inverter)}. Direction {options.direction.name}, by "
        f"{options.direction.method}; magnitude 1 is one standard deviation of sampled w along it.",
        "Changes are against the unedited result of the same quality.",
    ]
    numbers: dict[str, Any] = {
        "magnitudes": options.magnitudes,
        "changes": changes,
        "photos": records,
        "names": photos.names,
        "paper": PAPER,
        "settings": settings,
    }
    if base is not None:
        own, own_settings = _records(base[0], photos, base[1], outdir)
        # A plain network's images have one quality, that of the photo, so that both sides are the same.
        changes |= {BASE: _column_means([record["degraded"] for record in own])}
        columns.append(BASE)
        notes.append(f"The plain network: {describe_inverter(base[0])}; its edits are of the photo as it is.")
        numbers["base"] = {"photos": own, "settings": own_settings}
    return Table(
        name="editability",
        title="Table 3 of the supplement. Mean change of a score by the magnitude of the edit",
        columns=["magnitude", *columns, "paper, age on CelebA-HQ: degraded", "sharp"],
        rows=_rows(options.magnitudes, changes),
        notes=notes,
        numbers=numbers,
    )


def edits_sheet(
    inverter: Inverter, base: Inverter, photos: DegradedPhotos, options: tuple[EditOptions, EditOptions], count: int
) -> np.ndarray:
    """Return the figure of the supplement's C.1: edits of degraded photos by both networks, uint8 `[H, W, C]`.

    Args:
        inverter: inverter into the QC network.
        base: inverter into the plain one.
        photos: the photos.
        options: edits of each, of which the largest magnitude is shown.
        count: number of photos, the first ones.
    """
    numbers = range(min(count, len(photos)))
    sharp, degraded = photos.pairs(numbers)
    rows = []
    for k, (ours, theirs) in enumerate(
        zip(invert_photos(inverter, degraded), invert_photos(base, degraded), strict=True)
    ):
        reach = [0.0, options[0].reach]
        kept, clean = edited_at(inverter, ours, options[0].direction, reach, options[0].yielding)
        plain, _ = edited_at(base, theirs, options[1].direction, reach, options[1].yielding)
        rows.append(torch.cat([sharp[k : k + 1], degraded[k : k + 1], *(quantize(x) for x in (kept, clean, plain))]))
    images = torch.stack(rows).permute(0, 1, 3, 4, 2).numpy()  # [rows, columns, R, R, C]
    return labelled_grid(images, photos.names[: len(rows)], SHEET_COLUMNS)


def _records(
    inverter: Inverter, photos: DegradedPhotos, options: EditOptions, outdir: str | os.PathLike
) -> tuple[PhotoRecords, dict[str, Any]]:
    """Return the changes of each photo, and all that they depend on, as JSON."""

    def measure(numbers: range, sharp: Tensor, degraded: Tensor) -> PhotoRecords:
        return [score_changes(inverter, inversion, options) for inversion in invert_photos(inverter, degraded)]

    settings = {
        **inversion_settings(inverter),
        **photos.settings,
        "direction": direction_settings(options.direction, inverter.G),
        "scorer": [options.name, options.scorer_settings],
        "magnitudes": options.magnitudes,
        "yielding": options.yielding,
    }
    return measure_photos(photos, PartCache(outdir, "editability", settings), measure), settings


@torch.no_grad()
def score_changes(inverter: Inverter, inversion: Inversion, options: EditOptions) -> dict[str, list[float]]:
    """Return by quality how much each magnitude changes the score of one photo's results."""
    strengths = [0.0, *options.magnitudes]
    sides = zip(PAPER, edited_at(inverter, inversion, options.direction, strengths, options.yielding), strict=True)
    scores = {side: options.scorer(images).double() for side, images in sides}
    return {side: (values[1:] - values[0]).tolist() for side, values in scores.items()}


def edited_at(
    inverter: Inverter,
    inversion: Inversion,
    direction: AnyDirection,
    strengths: Sequence[float],
    yielding: float = YIELDING,
) -> tuple[Tensor, Tensor]:
    """Return one photo edited by each strength: with its quality kept, and sharp; float `[S, C, R, R]` in [-1, 1]."""
    latents = inversion.latents.to(inverter.device).repeat(len(strengths))
    with inverter.tuned(inversion) as G:
        kept, sharp = edited_images(G, latents, direction, torch.tensor(strengths), yielding=yielding)
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
        [f"{magnitude:.2f}", *(number(changes[side][k], 4) for side in changes), *papers[k]]
        for k, magnitude in enumerate(magnitudes)
    ]


def _papers(magnitudes: Sequence[float]) -> list[list[str]]:
    """Return the paper's cells for each magnitude; empty where it has other magnitudes."""
    theirs = torch.linspace(-REACH, REACH, COUNT, dtype=torch.float64).tolist()
    if list(magnitudes) != theirs:
        return [[EMPTY] * len(PAPER)] * len(magnitudes)
    return [[f"{values[k]:.2f}" for values in PAPER.values()] for k in range(COUNT)]
