"""The command `degrade`: give photos another degradation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.flags import PATH
from generation.quality_codes import MAX_SEED
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
    say,
)
from inversion.photos.tasks import Pasting, PhotoJob, PhotoTask

if TYPE_CHECKING:
    from inversion.inverter import Inverter
    from inversion.photos.jobs import Summary
    from inversion.photos.reader import PhotoReader, PreparedPhoto
    from inversion.tuned_weights import Inversion
    from networks.latents import Latents
    from torch_utils.processes.sharing import Share

OWN, SHARP = "own", "sharp"


@commands.command("degrade", sections=photo_sections("end", "start", "alphas", "strength"), former=FORMER)
@photo_options
@click.option(
    "--to",
    "end",
    type=PATH,
    required=True,
    metavar="WHAT",
    help="Degradation to give: seed:5 (a new one), a photo to copy it from, or sharp.",
)
@click.option(
    "--from",
    "start",
    type=PATH,
    default=OWN,
    metavar="WHAT",
    help="Degradation to start from: one of these, or the photo's own.",
)
@click.option(
    "--alpha",
    "alphas",
    type=click.FloatRange(0, 1),
    multiple=True,
    default=[1.0],
    callback=check_finite,
    help="Share of the way from --from to --to; may be repeated.",
)
@click.option("--strength", type=float, default=1.0, callback=check_finite, help="Factor of the degradation.")
@paste_options
@one_sentence_errors
def degrade(
    job: PhotoJob,
    inverting: InverterFlags,
    tuning: TuningFlags,
    align: str | None,
    end: str,
    start: str,
    alphas: tuple[float, ...],
    strength: float,
    pasting: Pasting,
) -> None:
    """Give photos another degradation: a new one, that of a reference photo, or one between two (paper, Fig. 6).

    \b
    python invert.py degrade --network=qc.safetensors --to=seed:5 -i photos -o degraded
    python invert.py degrade --network=qc.safetensors --from=seed:5 --to=noisy.jpg --alpha=0 --alpha=0.5 --alpha=1 \\
        -i photos -o degraded
    """
    from inversion.photos.invert import divide_photos

    check_codes(job.codes)
    arguments = inverting, tuning, align, start, end, alphas, strength, pasting
    finish(divide_photos(_degrade, job, inverting.device, *arguments), "degraded", job.outdir)


def _degrade(
    share: Share,
    job: PhotoJob,
    inverting: InverterFlags,
    tuning: TuningFlags,
    align: str | None,
    start: str,
    end: str,
    alphas: tuple[float, ...],
    strength: float,
    pasting: Pasting,
) -> Summary:
    from images.photos import from_network
    from inversion.commands.building import make_inverter, make_reader, on_share
    from inversion.photos.invert import invert_photos
    from inversion.photos.results import Results
    from inversion.quality.requality import interpolate_quality, scale_quality

    inverter = make_inverter(on_share(inverting, share), tuning, needs_quality=True)
    reader = make_reader(align, inverter, job.faces)
    folder = folder_name(start, end, strength)
    references = [_reference(text, inverter, reader) for text in (start, end)]

    def make(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> Results:
        latents = inversion.latents.to(inverter.device)
        first, second = (reference(latents) for reference in references)
        images, columns = {}, {"photo": photo.image}
        for alpha in alphas:
            codes = scale_quality(interpolate_quality(latents, first, second, alpha), strength)
            [image] = from_network(inverter.images(inversion, codes))
            images[f"{folder}-{alpha:g}"] = image
            columns[f"alpha {alpha:g}"] = image
        return Results(images, columns, {f"{kind}-pasted": image for kind, image in images.items()})

    names = [sha256(text) if Path(text).is_file() else text for text in (start, end)]
    settings = {"ends": names, "alphas": list(alphas), "strength": strength}
    return invert_photos("degrade", share, job, inverter, reader, settings, make, pasting)


def folder_name(start: str, end: str, strength: float) -> str:
    """Return how the folders of results begin: `degraded-seed5` for `seed:5`, `degraded-noisy` for `noisy.jpg`.

    What they start from, and the strength, are named where they are not the defaults:
    `degraded-seed3-to-seed5-x0.5`.
    """
    ways = [_label(end)] if start == OWN else [_label(start), "to", _label(end)]
    return "-".join(["degraded", *ways, *([f"x{strength:g}"] if strength != 1 else [])])


def _label(text: str) -> str:
    return Path(text).stem if Path(text).is_file() else text.replace(":", "")


def _reference(text: str, inverter: Inverter, reader: PhotoReader) -> Callable[[Latents], Latents]:
    """Return a function of a photo's latents that gives latents with the degradation that `text` names.

    A reference photo is read at once, and inverted when it is first needed.
    """
    from inversion.photos.invert import step_bar
    from inversion.quality.requality import sample_quality
    from networks.latents import Latents

    if text == OWN:
        return lambda latents: latents
    blank = Latents(inverter.G.mapping.w_avg.expand(1, inverter.G.num_ws, -1))
    if text == SHARP:
        return lambda latents: blank
    if text.startswith("seed:"):
        number = text.removeprefix("seed:")
        if not (number.isascii() and number.isdigit() and int(number) <= MAX_SEED):
            raise UserError(f"{text} has no seed from 0 to {MAX_SEED}; write for example seed:5")
        fresh = sample_quality(inverter.G, blank, [int(number)])
        return lambda latents: fresh
    if not Path(text).is_file():
        raise UserError(f"the degradation {text} is neither seed:NUMBER, sharp, own, nor a photo; check the path")
    target = reader.read(Path(text)).target.to(inverter.device)

    @functools.cache
    def codes() -> Latents:
        say(f"finding the degradation of {text}, which is inverted for that")
        with step_bar() as on_step:
            return inverter.codes(target, on_step)

    return lambda latents: codes()
