"""The command `edit`: change the content of photos, and keep their quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import numpy as np

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.files import sha256
from dnnlib.flags import PATH, gather_flags
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    TuningFlags,
    check_codes,
    check_finite,
    finish,
    paste_options,
    photo_options,
    photo_sections,
)
from inversion.commands.yielding import require_features, yielding_of, yielding_option
from inversion.photos.tasks import Pasting, PhotoJob, PhotoTask

if TYPE_CHECKING:
    from inversion.photos.jobs import Summary
    from inversion.photos.reader import PreparedPhoto
    from inversion.tuned_weights import Inversion
    from torch_utils.processes.sharing import Share


@dataclass(frozen=True)
class Edits:
    """What is edited.

    Attributes:
        path: file of the direction.
        strengths: strengths of the edits.
        yielding: how far features yield to the network's own, see `inversion.directions.following`; None: by default.
    """

    path: str
    strengths: tuple[float, ...]
    yielding: float | None


@commands.command("edit", sections=photo_sections("path", "strengths", "yielding"), former=FORMER)
@photo_options
@click.option(
    "--direction",
    "path",
    type=PATH,
    required=True,
    metavar="FILE",
    help="Direction to edit along; see the command directions.",
)
@click.option(
    "--strength",
    "strengths",
    type=float,
    multiple=True,
    default=[2.0],
    callback=check_finite,
    help="Strength of the edit; may be repeated.",
)
@yielding_option
@paste_options
@gather_flags("edits", Edits)
@one_sentence_errors
def edit(
    job: PhotoJob,
    inverting: InverterFlags,
    tuning: TuningFlags,
    align: str | None,
    edits: Edits,
    pasting: Pasting,
) -> None:
    """Edit photos along a direction: edited*/PHOTO.png keeps the photo's quality, edited*-sharp/PHOTO.png is sharp.

    \b
    python invert.py edit --network=qc.safetensors --direction=warmth.safetensors --strength=-2 --strength=2 \\
        -i photos -o edited
    """
    from inversion.photos.invert import divide_photos

    check_codes(job.codes)
    finish(
        divide_photos(_edit, job, inverting.device, inverting, tuning, align, edits, pasting),
        "edited",
        job.outdir,
    )


def _edit(
    share: Share,
    job: PhotoJob,
    inverting: InverterFlags,
    tuning: TuningFlags,
    align: str | None,
    edits: Edits,
    pasting: Pasting,
) -> Summary:
    from images.photos import from_network
    from inversion.commands.building import make_direction, make_inverter, make_reader, on_share
    from inversion.directions.editing import edited_images
    from inversion.photos.invert import invert_photos
    from inversion.photos.results import Results

    inverter = make_inverter(on_share(inverting, share), tuning, needs_quality=False)
    yielding = yielding_of(edits.yielding, inverter, job.codes)
    reader = make_reader(align, inverter, job.faces)
    direction = make_direction(edits.path, inverter, job.codes)

    def make(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> Results:
        require_features(edits.yielding, inversion.latents)
        latents = inversion.latents.to(inverter.device)
        images: dict[str, np.ndarray] = {}
        pasted: dict[str, np.ndarray] = {}
        columns = {"photo": photo.image}
        for strength in edits.strengths:
            with inverter.tuned(inversion) as G:
                kept, sharp = (
                    from_network(x)[0] for x in edited_images(G, latents, direction, strength, yielding=yielding)
                )
            images |= {f"edited{strength:+g}": kept, f"edited{strength:+g}-sharp": sharp}
            pasted[f"edited{strength:+g}-pasted"] = kept
            columns |= {f"{strength:+g}": kept, f"{strength:+g} sharp": sharp}
        return Results(images, columns, pasted)

    settings = {"direction": sha256(edits.path), "strengths": list(edits.strengths), "yielding": yielding}
    return invert_photos("edit", share, job, inverter, reader, settings, make, pasting)
