"""The commands `restore` and `encode`."""

from pathlib import Path

import click
import numpy as np

from dnnlib.cli import wrong_use_errors
from images.photos import from_network
from images.sheets import save_png
from inversion.commands.options import SETTINGS, finish, make_inverter, make_job, make_reader, photo_options, strip
from inversion.inverter import Inverter
from inversion.photos.invert import invert_photos, write_codes
from inversion.photos.jobs import PhotoTask
from inversion.photos.paste_back import paste_back
from inversion.photos.reader import PreparedPhoto
from inversion.tuned_weights import Inversion


@click.command("restore", context_settings=SETTINGS)
@photo_options
@click.option("--paste-back", "pastes", is_flag=True, help="Also the whole photo with the restored part in it.")
@wrong_use_errors
def restore(pastes, **flags):
    """Restore bad photos: find their content and quality, and show the content without the degradation.

    For each photo: PHOTO-restored.png, PHOTO-reconstruction.png, PHOTO-strip.png for comparison, and
    PHOTO-codes.safetensors, from which edit and degrade can go on (--codes). The same command again goes on where it
    was stopped.

    \b
    python invert.py restore --network=qc.safetensors --encoder=encoder.safetensors -i photos -o restored
    python invert.py restore --network=qc.safetensors --align=cat --paste-back -i photo.jpg -o restored
    """
    inverter = make_inverter(flags, needs_quality=True)
    reader, job = make_reader(flags, inverter), make_job(flags)

    def write(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> list[Path]:
        images = restored_images(inverter, inversion)
        paths = []
        for name, image in images.items():
            paths.append(task.output(f"{name}.png"))
            save_png(paths[-1], image)
        paths.append(task.output("strip.png"))
        save_png(paths[-1], strip({"photo": photo.image, **images}))
        if pastes:
            paths.append(task.output("pasted.png"))
            save_png(paths[-1], paste_back(photo.photo, images["restored"], photo.square))
        return [*paths, write_codes(task, inversion, inverter)]

    finish(invert_photos("restore", job, inverter, reader, {"pastes": pastes}, write))


@click.command("encode", context_settings=SETTINGS)
@photo_options
@wrong_use_errors
def encode(**flags):
    """Find the codes of photos, PHOTO-codes.safetensors, for any network; other commands take them by --codes.

    \b
    python invert.py encode --network=network.safetensors --tuning-steps=0 -i photos -o codes
    """
    inverter = make_inverter(flags, needs_quality=False)
    reader, job = make_reader(flags, inverter), make_job(flags)

    def write(task: PhotoTask, photo: PreparedPhoto, inversion: Inversion) -> list[Path]:
        return [write_codes(task, inversion, inverter)]

    finish(invert_photos("encode", job, inverter, reader, {}, write))


def restored_images(inverter: Inverter, inversion: Inversion) -> dict[str, np.ndarray]:
    """Return the images uint8 `[R, R, 3]` `reconstruction` and `restored` of an inverted photo."""
    reconstruction, restored = (from_network(images)[0] for images in inverter.pair(inversion))
    return {"reconstruction": reconstruction, "restored": restored}
