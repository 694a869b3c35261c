"""A command's work on each photo: invert it, or load its stored codes; then write the command's results."""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tqdm

from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.remarks import remark
from inversion.inverter import Inverter, OnStep
from inversion.photos.jobs import Summary, merge_outcome, run_job
from inversion.photos.notes import STAYS, Notes, notes_on, subject_of
from inversion.photos.reader import PhotoReader, PreparedPhoto
from inversion.photos.results import FaceResults, Results, save_results
from inversion.photos.tasks import Pasting, PhotoJob, PhotoTask, stored_codes
from inversion.tuned_weights import Inversion, load_inversion
from torch_utils.checkpoint import read_header
from torch_utils.processes.progress import StepLines, says_lines
from torch_utils.processes.sharing import Share, divide

LAYOUT = "a folder for each kind"  # layout of results; those of an earlier program are made again
NEARLY_SQUARE = 1.02  # ratio of the sides, up to which nothing is said of what is cut off

Make = Callable[[PhotoTask, PreparedPhoto, Inversion], Results]  # makes the results of a part of a photo


def divide_photos(work: Callable[..., Summary], job: PhotoJob, device: str | None, *arguments: Any) -> Summary | None:
    """Call `work(share, job, *arguments)` in each process of a job, and return the summary of all.

    Under torchrun only its first process has it, and the others None. See `torch_utils.processes.sharing.divide`.
    """
    outcome = divide(_as_json, job.gpus, device, work, job, *arguments)
    return None if outcome is None else merge_outcome(outcome)


def _as_json(share: Share, work: Callable[..., Summary], *arguments: Any) -> dict[str, Any]:
    return dataclasses.asdict(work(share, *arguments))


def invert_photos(
    name: str,
    share: Share,
    job: PhotoJob,
    inverter: Inverter,
    reader: PhotoReader,
    settings: dict[str, Any],
    make: Make,
    pasting: Pasting | None = None,
) -> Summary:
    """Invert this process's photos and write the results of a command; continue a job that was stopped.

    Args:
        name: name of the command.
        share: part of this process.
        job: photos and folders.
        inverter: how photos are inverted.
        reader: how photos are cut.
        settings: everything else that the results depend on, as JSON.
        make: makes the results of a face, or of the middle square of a photo.
        pasting: how results come back into their photos; None: not at all.
    """
    pasting = pasting or Pasting()
    subject = subject_of(read_header(inverter.network))

    def process(tasks: Sequence[PhotoTask], photos: Sequence[Sequence[PreparedPhoto]]) -> list[Sequence[Path]]:
        faces = [
            [(task.face(k), face) for k, face in enumerate(found)] for task, found in zip(tasks, photos, strict=True)
        ]
        parts = [part for found in faces for part in found]
        inversions: list[Inversion] = []
        for start in range(0, len(parts), job.batch):
            inversions += _invert(parts[start : start + job.batch], job, inverter)
        of_parts = iter(inversions)
        return [
            save(task, [(*part, next(of_parts)) for part in found]) for task, found in zip(tasks, faces, strict=True)
        ]

    def save(photo: PhotoTask, parts: Sequence[tuple[PhotoTask, PreparedPhoto, Inversion]]) -> list[Path]:
        return save_results(photo, [result_for(*part) for part in parts], pasting, inverter.network)

    def result_for(task: PhotoTask, part: PreparedPhoto, inversion: Inversion) -> FaceResults:
        results = make(task, part, inversion)
        notes = notes_on(inverter, inversion, part, subject, has_result=bool(results.images))
        _tell(notes, task, pasting)
        if notes.leaves(task.face_number):
            results = dataclasses.replace(results, pasted={})
        return FaceResults(task, part, inversion, results)

    def read(task: PhotoTask) -> list[PreparedPhoto]:
        faces = reader.read_faces(task.photo)
        if reader.detector is None and not pasting.is_wanted:
            _tell_of_shape(faces[0].photo)
        return faces

    dependencies = {
        **settings,
        "inversion": inverter.settings,
        "detector": reader.detector_name,
        "faces": reader.faces,
        "pasting": dataclasses.asdict(pasting),
        "codes": job.codes,
        "layout": LAYOUT,
    }
    return run_job(name, job.sources, job.outdir, read, process, dependencies, job.batch, share)


def _invert(parts: Sequence[tuple[PhotoTask, PreparedPhoto]], job: PhotoJob, inverter: Inverter) -> list[Inversion]:
    """Return what is stored of faces, and invert the others at once."""
    stored = [_load_stored(job, inverter, task, face) for task, face in parts]
    missing = [part for part, inversion in zip(parts, stored, strict=True) if inversion is None]
    if not missing:
        return [inversion for inversion in stored if inversion is not None]
    with step_bar() as on_step:
        targets = torch.cat([face.target for _, face in missing])  # [n, C, R, R]
        computed = iter(inverter.invert(targets, on_step))
    return [inversion or _with_identity(next(computed), *part) for inversion, part in zip(stored, parts, strict=True)]


def _tell_of_shape(photo: np.ndarray) -> None:
    """Say once what becomes of photos that are not square."""
    height, width = photo.shape[:2]
    if max(height, width) > NEARLY_SQUARE * min(height, width):
        remark(
            "photos that are not square are cut to the square in their middle; --paste-back also writes the whole "
            "photo with the result in it, and --align=cat or --align=human takes the faces"
        )


def _tell(notes: Notes, task: PhotoTask, pasting: Pasting) -> None:
    """Say what somebody should know about the results for a face, above the bar of the job."""
    leaves = pasting.is_wanted and notes.leaves(task.face_number)
    for sentence in (*notes.sentences, *([STAYS] if leaves else [])):
        tqdm.tqdm.write(f"{task.label}: {sentence}", file=sys.stderr)


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
