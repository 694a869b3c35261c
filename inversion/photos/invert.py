"""A command's work on each photo: invert it, or load its stored codes; then write the command's results."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import tqdm

from dnnlib.errors import UserError
from dnnlib.files import sha256
from inversion.inverter import Inverter, OnStep
from inversion.photos.jobs import Summary, merged, run_job
from inversion.photos.reader import PhotoReader, PreparedPhoto
from inversion.photos.tasks import PhotoJob, PhotoTask, stored_codes
from inversion.tuned_weights import Inversion, load_inversion, save_inversion
from torch_utils.progress import StepLines, says_lines
from torch_utils.sharing import Share, divide

CODES = "codes.safetensors"  # of the files of inversions, see PhotoTask.output
LAYOUT = "a folder for each kind"  # of results; those of an earlier program are made again

Write = Callable[[PhotoTask, PreparedPhoto, Inversion], Sequence[Path]]  # writes results, returns their paths


def divide_photos(work: Callable[..., Summary], job: PhotoJob, device: str | None, *arguments: Any) -> Summary | None:
    """Call `work(share, job, *arguments)` in each process of a job, and return the summary of all.

    Under torchrun only its first process has it, and the others None. See `torch_utils.sharing.divide`.
    """
    outcome = divide(_as_json, job.gpus, device, work, job, *arguments)
    return None if outcome is None else merged(outcome)


def _as_json(share: Share, work: Callable[..., Summary], *arguments: Any) -> dict[str, Any]:
    return dataclasses.asdict(work(share, *arguments))


def invert_photos(
    name: str,
    share: Share,
    job: PhotoJob,
    inverter: Inverter,
    reader: PhotoReader,
    settings: dict[str, Any],
    write: Write,
) -> Summary:
    """Invert this process's photos and write the results of a command; continue a job that was stopped.

    Args:
        name: name of the command.
        share: part of this process.
        job: photos and folders.
        inverter: how photos are inverted.
        reader: how photos are cut.
        settings: everything else that the results depend on, as JSON.
        write: writes the results for a photo.
    """

    def process(tasks: Sequence[PhotoTask], photos: Sequence[PreparedPhoto]) -> list[Sequence[Path]]:
        inversions: dict[int, Inversion] = {}
        for k, (task, photo) in enumerate(zip(tasks, photos, strict=True)):
            stored = _load_stored(job, inverter, task, photo)
            if stored is not None:
                inversions[k] = stored
        missing = [k for k in range(len(tasks)) if k not in inversions]
        if missing:
            with step_bar() as on_step:
                targets = torch.cat([photos[k].target for k in missing])  # [n, C, R, R]
                computed = inverter.invert(targets, on_step)
            for k, inversion in zip(missing, computed, strict=True):
                inversions[k] = _with_identity(inversion, tasks[k], photos[k])
        return [write(tasks[k], photos[k], inversions[k]) for k in range(len(tasks))]

    dependencies = {
        **settings,
        "inversion": inverter.settings,
        "detector": reader.detector_name,
        "codes": job.codes,
        "layout": LAYOUT,
    }
    return run_job(
        name, job.sources, job.outdir, lambda task: reader.read(task.photo), process, dependencies, job.batch, share
    )


def write_codes(task: PhotoTask, inversion: Inversion, inverter: Inverter) -> Path:
    """Write the inversion of a photo beside its other results; return the path."""
    path = task.output(CODES)
    save_inversion(path, inversion, inverter.network)
    return path


@contextmanager
def step_bar() -> Iterator[OnStep]:
    """Yield a function that shows the steps of a stage: bars with the time left on a terminal, else lines."""
    if says_lines():
        yield StepLines()
        return
    bars: dict[str, tqdm.tqdm] = {}

    def on_step(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = tqdm.tqdm(total=total, desc=f"  {stage}", unit="step", leave=False)
        bars[stage].update(done - bars[stage].n)

    try:
        yield on_step
    finally:
        for bar in bars.values():
            bar.close()


def _with_identity(inversion: Inversion, task: PhotoTask, photo: PreparedPhoto) -> Inversion:
    """Return an inversion whose settings name the photo, and the part of it, that was inverted."""
    return dataclasses.replace(
        inversion, photo=task.name, settings={**inversion.settings, **_identity(task.photo, photo)}
    )


def _identity(file: Path, photo: PreparedPhoto) -> dict[str, Any]:
    """Return the settings that tell which part of which photo was inverted."""
    return {"photo_sha256": sha256(file), "square": list(dataclasses.astuple(photo.square))}


def _load_stored(job: PhotoJob, inverter: Inverter, task: PhotoTask, photo: PreparedPhoto) -> Inversion | None:
    """Return the inversion of a photo by an earlier command, or None; raise UserError for another part or photo."""
    if job.codes is None:
        return None
    path = stored_codes(job.codes, task.base)
    if path is None:
        return None
    return stored_inversion(path, inverter, task.photo, photo, job.codes)


def stored_inversion(path: Path, inverter: Inverter, file: Path, photo: PreparedPhoto, codes: str) -> Inversion:
    """Return what an earlier command has found for a photo.

    Args:
        path: file of the inversion.
        inverter: what the codes are for.
        file: the photo.
        photo: what was read of it.
        codes: folder that --codes names, for the error.

    Raises UserError for an inversion of another photo, or of another part of it, and as `load_inversion` does.
    """
    inversion = load_inversion(path, inverter.network, inverter.G)
    if any(inversion.settings.get(key) != value for key, value in _identity(file, photo).items()):
        raise UserError(
            f"{path} is of another photo than {file}, or of another part of it; leave out --codes={codes}, "
            "or align as when it was made"
        )
    return inversion
