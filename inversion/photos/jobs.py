"""A command on many photos: it continues where it was stopped, passes over bad photos, and reports them at the end."""

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import tqdm

from dnnlib.errors import UserError
from dnnlib.files import prepare_directory, real_path
from images.photos import photo_files
from inversion.photos.tasks import DoneRecord, PhotoTask

# Errors of the output folder, not of one photo: the next photo would fail for the same reason.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Item = TypeVar("Item")  # a photo as it was read
Read = Callable[[PhotoTask], Item]  # reads a photo
Process = Callable[[Sequence[PhotoTask], Sequence[Item]], Sequence[Sequence[Path]]]  # writes results, returns paths
Outcome = tuple[PhotoTask, Sequence[Path] | UserError]


@dataclass
class Summary:
    """The outcome of a job.

    Attributes:
        done: number of photos that were processed.
        already: number of photos whose results were there.
        failed: a sentence for each photo that was passed over.
        stopped_by: number of the signal that ended the job early; None without.
    """

    done: int = 0
    already: int = 0
    failed: list[str] = field(default_factory=list)
    stopped_by: int | None = None

    @property
    def exit_code(self) -> int:
        """0 when every photo has its results, 1 when some have not, 128 and the signal's number after a signal."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        return 1 if self.failed else 0

    def report(self) -> str:
        """Return the counts, and a line for each photo that was passed over, as text."""
        counts = f"{self.done} done, {self.already} were done before, {len(self.failed)} passed over"
        if self.stopped_by is not None:
            counts += f"; stopped by {signal.Signals(self.stopped_by).name}, the same command goes on from here"
        return "\n".join([counts, *self.failed])


def run_job(
    job: str,
    source: str | os.PathLike,
    outdir: str | os.PathLike,
    read: Read[Item],
    process: Process[Item],
    settings: Mapping[str, Any],
    batch: int = 1,
) -> Summary:
    """Process a photo, or all below a folder, each into `outdir` under the folder that it comes from.

    A photo is left alone when the latest run of this job on it had the same settings, its content is the same, and all
    its results are there. UserErrors belong to single photos; a batch that raises one is repeated photo by photo. A
    full or read-only disk and every other exception end the job. SIGINT and SIGTERM end it between two instructions:
    what has been finished stays recorded, and files written by `replace_file` are whole.

    Args:
        job: name of the command; each command has a file in `outdir` that lists the photos it has done.
        source: photo or folder of photos.
        outdir: folder of the results, made when missing; if it lies within the input folder, it is not searched.
        read: reads a photo for `process`; UserError for a bad one.
        process: writes the results of some photos by `replace_file`, and returns their paths for each photo.
        settings: JSON values on which the results depend, with the hashes of networks.
        batch: photos that `process` gets at once.

    Raises UserError before any work when there is no photo, or when `outdir` cannot be written or holds the photos.
    """
    assert batch >= 1, f"batch {batch} is not positive"
    outdir = Path(outdir)
    photos = _photos_by_name(Path(source), outdir)
    record = DoneRecord(prepare_directory(outdir), job, settings)
    tasks = _tasks(photos, outdir, record)
    pending = [task for task in tasks if not record.is_done(task)]
    summary = Summary(already=len(tasks) - len(pending))
    with (
        tqdm.tqdm(total=len(tasks), initial=summary.already, desc=job, unit="photo", disable=None) as bar,
        _stoppable(summary),
    ):
        for start in range(0, len(pending), batch):
            part = pending[start : start + batch]
            for task, outcome in _process(part, read, process):
                if isinstance(outcome, UserError):
                    summary.failed.append(_sentence(task, outcome))
                else:
                    record.add(task, outcome)
                    summary.done += 1
            bar.update(len(part))
    return summary


def _photos_by_name(source: Path, outdir: Path) -> dict[str, Path]:
    """Return the photos by their names below the source, without photos below `outdir`."""
    photos = photo_files(source)
    results, place = real_path(outdir), real_path(source)
    if results == (place if source.is_dir() else place.parent):
        raise UserError(f"the output folder {outdir} is that of the photos; choose another --outdir")
    if not source.is_dir():
        return {source.name: source}
    if place in results.parents:
        photos = [photo for photo in photos if results not in real_path(photo).parents]
    if not photos:
        raise UserError(f"no photos in {source} but those of the output folder {outdir}; check both paths")
    return {photo.relative_to(source).as_posix(): photo for photo in photos}


def _tasks(photos: Mapping[str, Path], outdir: Path, record: DoneRecord) -> list[PhotoTask]:
    """Return a task for each photo; results keep the name that they have, and no two photos share a name."""
    bases = {name: base for name in photos if (base := record.base(name)) is not None}
    taken = {entry["base"] for entry in record.entries.values() if "base" in entry}
    for name in photos:
        if name not in bases:
            bases[name] = _free_base(name, taken)
            taken.add(bases[name])
    tasks = [PhotoTask(name, photo, outdir / bases[name]) for name, photo in photos.items()]
    for folder in {task.base.parent for task in tasks}:
        prepare_directory(folder)
    return tasks


def _free_base(name: str, taken: set[str]) -> str:
    """Return `sub/cat` for `sub/cat.jpg`, or `sub/cat-jpg`, `sub/cat-jpg-2`, ... when the name is taken."""
    path = Path(name)
    base, number = path.with_suffix("").as_posix(), 1
    if base not in taken:
        return base
    other = base = f"{base}-{path.suffix.lstrip('.')}"
    while other in taken:
        number += 1
        other = f"{base}-{number}"
    return other


def _process(tasks: Sequence[PhotoTask], read: Read[Item], process: Process[Item]) -> Iterator[Outcome]:
    """Yield for each photo the paths of its results, or the error that concerns it."""
    readable: list[tuple[PhotoTask, Item]] = []
    for task in tasks:
        try:
            readable.append((task, read(task)))
        except UserError as error:
            yield task, _require_single(error)
    yield from _process_readable(readable, process)


def _process_readable(readable: Sequence[tuple[PhotoTask, Item]], process: Process[Item]) -> Iterator[Outcome]:
    if not readable:
        return
    try:
        results = process([task for task, _ in readable], [item for _, item in readable])
    except UserError as error:
        _require_single(error)
        if len(readable) == 1:
            yield readable[0][0], error
            return
        for entry in readable:
            yield from _process_readable([entry], process)
        return
    assert len(results) == len(readable), f"{len(results)} results of {len(readable)} photos"
    yield from zip((task for task, _ in readable), results, strict=True)


def _require_single(error: UserError) -> UserError:
    """Return an error that concerns single photos; raise it when it concerns the output folder."""
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in FATAL:
        raise error
    return error


def _sentence(task: PhotoTask, error: UserError) -> str:
    """Return the error as a sentence that names the photo."""
    text = str(error)
    return text if task.name in text else f"{task.name}: {text}"


@contextlib.contextmanager
def _stoppable(summary: Summary) -> Iterator[None]:
    """Let SIGINT and SIGTERM interrupt the body as an exception, and note the signal in `summary`."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        summary.stopped_by = number
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return
    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        if summary.stopped_by is None:
            raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
