"""The command `edit`: change the content of photos, and keep their quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import wrong_use_errors
from dnnlib.files import sha256
from dnnlib.flags import PATH
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    TuningFlags,
    check_codes,
    check_finite,
    finish,
    photo_options,
    photo_sections,
)
from inversion.photos.tasks import PhotoJob, PhotoTask

if TYPE_CHECKING:
    from inversion.photos.jobs import Summary
    from inversion.photos.reader import PreparedPhoto
    from inversion.tuned_weights import Inversion
    from torch_utils.sharing import Share


@commands.command("edit", sections=photo_sections("path", "strengths"), former=FORMER)
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
@click.option("--paste-back", "pastes", is_flag=True, help="Also write the whole photo with the edited part in it.")
@wrong_use_errors
def edit(
    job: PhotoJob,
    inverting: InverterFlags,
    tuning: TuningFlags,
    align: str | None,
    path: str,
    strengths: tuple[float, ...],
    pastes: bool,
) -> None:
    """Edit photos along a direction: edited*/PHOTO.png keeps the photo's quality, edited*-sharp/PHOTO.png is sharp.

    \b
    python invert.py edit --network=qc.safetensors --direction=warmth.safetensors --strength=-2 --strength=2 \\
        -i photos -o edited
    """
    from inversion.photos.invert import divide_photos

    check_codes(job.codes)
    finish(
        divide_photos(_edit, job, inverting.device, inverting, tuning, align, path, strengths, pastes),
        "edited",
        job.outdir,
    )


def _edit(
    share: Share,
    job: PhotoJob,
    inverting: InverterFlags,
    tuning: TuningFlags,
    align: str | None,
    path: str,
    strengths: tuple[float, ...],
    pastes: bool,
) -> Summary:
    from images.photos import from_network
    from images.sheets import save_png
    from inversion.commands.building import make_direction, make_inverter, make_reader, make_strip, on_share
    from inversion.directions.editing import edited_images
    from inversion.photos.invert import invert_photos, write_codes
    from inversion.photos.paste_back import paste_back

    inverter = make_inverter(on_share(inverting, share), tuning, needs_quality=False)
    reader = make_reader(align, inverter)
    direction = make_direction(path, inverter, job.codes)

    def write(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> list[Path]:
        latents = inversion.latents.to(inverter.device)
        columns = {"photo": photo.image}
        paths = []
        for strength in strengths:
            with inverter.tuned(inversion) as G:
                kept, sharp = (from_network(x)[0] for x in edited_images(G, latents, direction, strength))
            results = {f"edited{strength:+g}.png": kept, f"edited{strength:+g}-sharp.png": sharp}
            if pastes:
                results[f"edited{strength:+g}-pasted.png"] = paste_back(photo.photo, kept, photo.square)
            for ending, image in results.items():
                paths.append(task.output(ending))
                save_png(paths[-1], image)
            columns |= {f"{strength:+g}": kept, f"{strength:+g} sharp": sharp}
        paths.append(task.output("strip.png"))
        save_png(paths[-1], make_strip(columns))
        return [*paths, write_codes(task, inversion, inverter)]

    settings = {"direction": sha256(path), "strengths": list(strengths), "pastes": pastes}
    return invert_photos("edit", share, job, inverter, reader, settings, write)
