"""The commands `restore` and `encode`."""

from __future__ import annotations

from collections.abc import Iterator
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
    say,
)
from inversion.photos.tasks import Pasting, PhotoJob, PhotoTask

if TYPE_CHECKING:
    from inversion.inverter import Inverter
    from inversion.photos.jobs import Summary
    from inversion.photos.reader import PreparedPhoto
    from inversion.tuned_weights import Inversion
    from torch_utils.processes.sharing import Share

STAYS = "it stays as it is in the whole photo"
COARSER = 1.25  # sides of the network's images, from which on a photo is said to lose by its size


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
    from torch_utils.checkpoint import read_header

    inverter = make_inverter(on_share(inverting, share), tuning, needs_quality=True, tunes_after_encoder=False)
    reader = make_reader(align, inverter, job.faces)
    subject = read_header(inverting.network).get("subject") or "what it was trained on"

    def make(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> Results:
        for note in notes_on(inverter, inversion, photo, subject):
            say(f"{task.label}: {note}")
        images = restored_images(inverter, inversion, photo)
        pasted = {"pasted": images["restored"]}
        if stays(inverter, inversion, photo, task.face_number):
            say(f"{task.label}: {STAYS}")
            pasted = {}
        return Results(images, {"photo": photo.image, **images}, pasted)

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


def notes_on(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto, subject: str) -> Iterator[str]:
    """Yield what somebody should know about the restored version of a photo, as sentences."""
    if inverter.is_strange(inversion, photo.target):
        yield f"this does not look like {subject}, which is all that the network knows; the result shows that instead"
    yield from note_on_size(photo.square.side, inverter.G.img_resolution)


def stays(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto, face_number: int) -> bool:
    """Whether a face stays as it is in the whole photo, as it is none: detectors see some in fur and curtains."""
    return face_number > 1 and inverter.is_strange(inversion, photo.target)


def note_on_size(side: float, resolution: int) -> Iterator[str]:
    """Yield a sentence where a part of `side` pixels loses by the network's resolution."""
    if side > COARSER * resolution:
        yield (
            f"the part that is restored has {side:.0f} pixels a side and the network makes {resolution}; "
            "the result is coarser than the photo"
        )


def restored_images(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto) -> dict[str, np.ndarray]:
    """Return the images uint8 `[R, R, 3]` `reconstruction` and `restored` of an inverted photo."""
    from images.photos import from_network

    result = inverter.restore(inversion, photo.target)
    images = {"reconstruction": result.reconstruction, "restored": result.restored}
    return {name: from_network(image)[0] for name, image in images.items()}
