"""A command's work on each photo: invert it, or take what is stored of it; then write the command's results."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tqdm

from dnnlib.errors import UserError
from dnnlib.files import sha256
from inversion.inverter import Inverter
from inversion.photos.jobs import PhotoTask, Summary, run_job
from inversion.photos.reader import PhotoReader, PreparedPhoto
from inversion.tuned_weights import Inversion, load_inversion, save_inversion

CODES = "codes.safetensors"  # ending of the file that holds an inversion

Write = Callable[[PhotoTask, PreparedPhoto, Inversion], Sequence[Path]]  # writes results, returns their paths


@dataclass(frozen=True)
class PhotoJob:
    """Photos to be inverted.

    Attributes:
        source: photo or folder.
        outdir: of the results.
        codes: folder in which an earlier command has left inversions of the same photos; None: that is not looked at.
        batch: photos inverted at once.
    """

    source: str
    outdir: str
    codes: str | None = None
    batch: int = 1


def invert_photos(
    name: str, job: PhotoJob, inverter: Inverter, reader: PhotoReader, settings: dict[str, Any], write: Write
) -> Summary:
    """Invert each photo and write the results of a command; goes on where it was stopped.

    Args:
        name: of the command.
        job: the photos.
        inverter: how they are inverted.
        reader: how they are cut.
        settings: all else that the results depend on, as JSON.
        write: called for each photo.
    """

    def process(tasks: Sequence[PhotoTask], photos: Sequence[PreparedPhoto]) -> list[Sequence[Path]]:
        found = [_stored(job, inverter, task, photo) for task, photo in zip(tasks, photos, strict=True)]
        missing = [k for k, inversion in enumerate(found) if inversion is None]
        if missing:
            with step_bar() as on_step:
                inversions = inverter.invert(torch.cat([photos[k].target for k in missing]), on_step)
            for k, inversion in zip(missing, inversions, strict=True):
                found[k] = _identified(inversion, tasks[k], photos[k])
        return [write(*each) for each in zip(tasks, photos, found, strict=True)]

    depends = {**settings, "inversion": inverter.settings, "detector": reader.detector_name, "codes": job.codes}
    return run_job(name, job.source, job.outdir, lambda task: reader.read(task.photo), process, depends, job.batch)


def write_codes(task: PhotoTask, inversion: Inversion, inverter: Inverter) -> Path:
    """Write what was found for a photo beside its other results; return the path."""
    path = task.output(CODES)
    save_inversion(path, inversion, inverter.network)
    return path


@contextmanager
def step_bar():
    """Yield a listener that shows the steps of a stage and the time left, where there is a terminal."""
    bars: dict[str, tqdm.tqdm] = {}

    def on_step(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = tqdm.tqdm(total=total, desc=f"  {stage}", unit="step", leave=False, disable=None)
        bars[stage].update(done - bars[stage].n)

    try:
        yield on_step
    finally:
        for bar in bars.values():
            bar.close()


def _identified(inversion: Inversion, task: PhotoTask, photo: PreparedPhoto) -> Inversion:
    """Return an inversion that says which part of which photo it is of."""
    return dataclasses.replace(
        inversion, photo=task.name, settings={**inversion.settings, **_identity(task, photo)}
    )


def _identity(task: PhotoTask, photo: PreparedPhoto) -> dict[str, Any]:
    return {"photo_sha256": sha256(task.photo), "square": list(dataclasses.astuple(photo.square))}


def _stored(job: PhotoJob, inverter: Inverter, task: PhotoTask, photo: PreparedPhoto) -> Inversion | None:
    """Return the inversion of a photo that an earlier command has left; None where there is none of this part of it."""
    if job.codes is None:
        return None
    base = Path(job.codes) / task.base.relative_to(job.outdir)
    path = base.with_name(f"{base.name}-{CODES}")
    if not path.is_file():
        return None
    inversion = load_inversion(path, inverter.network)
    if any(inversion.settings.get(key) != value for key, value in _identity(task, photo).items()):
        raise UserError(
            f"{path} is of another photo than {task.photo}, or of another part of it; leave out --codes={job.codes}, "
            "or align as when it was made"
        )
    return inversion
