"""The commands `restore` and `encode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    TuningFlags,
    check_codes,
    fidelity_option,
    finish,
    paste_options,
    photo_options,
    photo_sections,
)
from inversion.photos.tasks import Pasting, PhotoJob, PhotoTask

if TYPE_CHECKING:
    from inversion.inverter import Inverter
    from inversion.photos.jobs import Summary
    from inversion.photos.reader import PreparedPhoto
    from inversion.tuned_weights import Inversion
    from torch_utils.processes.sharing import Share


@commands.command("restore", sections=photo_sections("fidelity"), former=FORMER)
@photo_options
@fidelity_option
@paste_options
@one_sentence_errors
def restore(job: PhotoJob, inverting: InverterFlags, tuning: TuningFlags, align: str | None, pasting: Pasting) -> None:
    """Restore bad photos: find their content and quality, and show the content without the degradation.

    For each photo: restored/PHOTO.png, reconstruction/PHOTO.png, strips/PHOTO.png for comparison, and
    codes/PHOTO.safetensors, from which edit and degrade can go on (--codes). With --align each face of a photo is
    restored, PHOTO.png, PHOTO-face2.png, ...; --paste-back puts them into the photo. The same command again goes on
    where it was stopped.

    \b
    python invert.py restore --network=qc.safetensors --encoder=encoder.safetensors -i photos -o restored
    python invert.py restore --network=qc.safetensors --align=cat --paste-back -i photo.jpg -o restored
    """
    from inversion.photos.invert import divide_photos

    check_codes(job.codes)
    finish(
        divide_photos(_restore, job, inverting.device, inverting, tuning, align, pasting),
        "restored",
        Path(job.outdir) / "restored",
    )


def _restore(
    share: Share, job: PhotoJob, inverting: InverterFlags, tuning: TuningFlags, align: str | None, pasting: Pasting
) -> Summary:
    from inversion.commands.building import make_inverter, make_reader, on_share
    from inversion.photos.invert import invert_photos
    from inversion.photos.results import Results

    inverter = make_inverter(on_share(inverting, share), tuning, needs_quality=True, tunes_after_encoder=False)
    reader = make_reader(align, inverter, job.faces)

    def make(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> Results:
        images = restored_images(inverter, inversion, photo)
        return Results(images, {"photo": photo.image, **images}, {"pasted": images["restored"]})

    settings = {"fidelity": inverter.options.fidelity}
    return invert_photos("restore", share, job, inverter, reader, settings, make, pasting)


@commands.command("encode", sections=photo_sections(), former=FORMER)
@photo_options
@one_sentence_errors
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
    from inversion.photos.invert import invert_photos
    from inversion.photos.results import Results

    inverter = make_inverter(on_share(inverting, share), tuning, needs_quality=False)
    reader = make_reader(align, inverter, job.faces)

    return invert_photos("encode", share, job, inverter, reader, {}, lambda *part: Results())


def restored_images(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto) -> dict[str, np.ndarray]:
    """Return the images uint8 `[R, R, 3]` `reconstruction` and `restored` of an inverted photo."""
    from images.photos import from_network

    result = inverter.restore(inversion, photo.target)
    images = {"reconstruction": result.reconstruction, "restored": result.restored}
    return {name: from_network(image)[0] for name, image in images.items()}
