"""The commands `restore` and `encode`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from dnnlib import commands
from dnnlib.cli import wrong_use_errors
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    TuningFlags,
    check_codes,
    fidelity_option,
    finish,
    photo_options,
    photo_sections,
    say,
)
from inversion.photos.tasks import PhotoJob, PhotoTask

if TYPE_CHECKING:
    from inversion.inverter import Inverter
    from inversion.photos.jobs import Summary
    from inversion.photos.reader import PreparedPhoto
    from inversion.tuned_weights import Inversion
    from torch_utils.sharing import Share

COARSER = 1.25  # sides of the network's images, from which on a photo is said to lose by its size


@commands.command("restore", sections=photo_sections("fidelity"), former=FORMER)
@photo_options
@fidelity_option
@click.option("--paste-back", "pastes", is_flag=True, help="Also write the whole photo with the restored part in it.")
@wrong_use_errors
def restore(job: PhotoJob, inverting: InverterFlags, tuning: TuningFlags, align: str | None, pastes: bool) -> None:
    """Restore bad photos: find their content and quality, and show the content without the degradation.

    For each photo: restored/PHOTO.png, reconstruction/PHOTO.png, strips/PHOTO.png for comparison, and
    codes/PHOTO.safetensors, from which edit and degrade can go on (--codes). The same command again goes on where it
    was stopped.

    \b
    python invert.py restore --network=qc.safetensors --encoder=encoder.safetensors -i photos -o restored
    python invert.py restore --network=qc.safetensors --align=cat --paste-back -i photo.jpg -o restored
    """
    from inversion.photos.invert import divide_photos

    check_codes(job.codes)
    finish(
        divide_photos(_restore, job, inverting.device, inverting, tuning, align, pastes),
        "restored",
        Path(job.outdir) / "restored",
    )


def _restore(
    share: Share, job: PhotoJob, inverting: InverterFlags, tuning: TuningFlags, align: str | None, pastes: bool
) -> Summary:
    from images.sheets import save_png
    from inversion.commands.building import make_inverter, make_reader, make_strip, on_share
    from inversion.photos.invert import invert_photos, write_codes
    from inversion.photos.paste_back import paste_back
    from torch_utils.checkpoint import read_header

    inverter = make_inverter(on_share(inverting, share), tuning, needs_quality=True, tunes_after_encoder=False)
    reader = make_reader(align, inverter)
    subject = read_header(inverting.network).get("subject") or "what it was trained on"

    def write(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> list[Path]:
        for note in notes_on(inverter, inversion, photo, subject):
            say(f"{task.name}: {note}")
        images = restored_images(inverter, inversion, photo)
        paths = []
        for name, image in images.items():
            paths.append(task.output(f"{name}.png"))
            save_png(paths[-1], image)
        paths.append(task.output("strip.png"))
        save_png(paths[-1], make_strip({"photo": photo.image, **images}))
        if pastes:
            paths.append(task.output("pasted.png"))
            save_png(paths[-1], paste_back(photo.photo, images["restored"], photo.square))
        return [*paths, write_codes(task, inversion, inverter)]

    settings = {"pastes": pastes, "fidelity": inverter.options.fidelity}
    return invert_photos("restore", share, job, inverter, reader, settings, write)


@commands.command("encode", sections=photo_sections(), former=FORMER)
@photo_options
@wrong_use_errors
def encode(job: PhotoJob, inverting: InverterFlags, tuning: TuningFlags, align: str | None) -> None:
    """Find the codes of photos, codes/PHOTO.safetensors, for any network; other commands take them by --codes.

    \b
    python invert.py encode --network=network.safetensors --tuning-steps=0 -i photos -o codes
    """
    from inversion.photos.invert import divide_photos

    check_codes(job.codes)
    finish(
        divide_photos(_encode, job, inverting.device, inverting, tuning, align), "encoded", Path(job.outdir) / "codes"
    )


def _encode(share: Share, job: PhotoJob, inverting: InverterFlags, tuning: TuningFlags, align: str | None) -> Summary:
    from inversion.commands.building import make_inverter, make_reader, on_share
    from inversion.photos.invert import invert_photos, write_codes

    inverter = make_inverter(on_share(inverting, share), tuning, needs_quality=False)
    reader = make_reader(align, inverter)

    def write(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> list[Path]:
        return [write_codes(task, inversion, inverter)]

    return invert_photos("encode", share, job, inverter, reader, {}, write)


def notes_on(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto, subject: str) -> Iterator[str]:
    """Yield what somebody should know about the restored version of a photo, as sentences."""
    if inverter.is_strange(inversion, photo.target):
        yield f"this does not look like {subject}, which is all that the network knows; the result shows that instead"
    resolution = inverter.G.img_resolution
    if photo.square.side > COARSER * resolution:
        yield (
            f"the part that is restored has {photo.square.side:.0f} pixels a side and the network makes {resolution}; "
            "the result is coarser than the photo"
        )


def restored_images(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto) -> dict[str, np.ndarray]:
    """Return the images uint8 `[R, R, 3]` `reconstruction` and `restored` of an inverted photo."""
    from images.photos import from_network

    result = inverter.restore(inversion, photo.target)
    images = {"reconstruction": result.reconstruction, "restored": result.restored}
    return {name: from_network(image)[0] for name, image in images.items()}
