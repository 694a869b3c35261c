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

import torch

from dnnlib.errors import UserError
from dnnlib.files import prepare_directory
from inversion.photos.inputs import TakenNames, photos_by_name
from inversion.photos.progress import Progress
from inversion.photos.tasks import DoneRecord, PhotoTask
from torch_utils.processes.sharing import Outcome, Share

# Errors of the output folder, not of one photo: the next photo would fail for the same reason.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Item = TypeVar("Item")  # a photo as it was read
Read = Callable[[PhotoTask], Item]  # reads a photo
Process = Callable[[Sequence[PhotoTask], Sequence[Item]], Sequence[Sequence[Path]]]  # writes results, returns paths
PhotoOutcome = tuple[PhotoTask, Sequence[Path] | UserError]


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

    def report(self, verb: str, results: str | os.PathLike) -> str:
        """Return the counts, and a line for each photo that was passed over, as text.

        Args:
            verb: what was done, such as `restored`.
            results: folder of the results.
        """
        parts = [f"{self.done} {verb}"]
        parts += [f"{self.already} were done before"] if self.already else []
        parts += [f"{len(self.failed)} skipped"] if self.failed else []
        counts = f"{', '.join(parts)}; results in {os.fspath(results).rstrip('/')}/"
        if self.stopped_by is not None:
            counts += f"; stopped by {signal.Signals(self.stopped_by).name}, the same command goes on from here"
        return "\n".join([counts, *self.failed])


def merge_outcome(outcome: Outcome) -> Summary:
    """Return the summary of all processes' work, which each of them has returned by `dataclasses.asdict`."""
    parts = [Summary(**part) for part in outcome.results]
    failed = [sentence for part in parts for sentence in part.failed]
    failed += [f"{loss.item or 'no photo'}: {loss.reason}; the same command tries again" for loss in outcome.losses]
    signals = [number for number in (*(part.stopped_by for part in parts), outcome.stopped_by) if number is not None]
    if outcome.left and not signals:
        failed.append(f"{outcome.left} more were not begun, as no process was left; the same command goes on")
    return Summary(sum(p.done for p in parts), max(p.already for p in parts), failed, next(iter(signals), None))


def run_job(
    job: str,
    sources: Sequence[str | os.PathLike],
    outdir: str | os.PathLike,
    read: Read[Item],
    process: Process[Item],
    settings: Mapping[str, Any],
    batch: int = 1,
    share: Share | None = None,
) -> Summary:
    """Process photos, and all below folders, each into `outdir` under the folder that it comes from.

    A photo is left alone when the latest run of this job on it had the same settings, its content is the same, and all
    its results are there. UserErrors belong to single photos; a batch that raises one is repeated photo by photo. A
    full or read-only disk and every other exception end the job. SIGINT and SIGTERM end it between two instructions:
    what has been finished stays recorded, and files written by `replace_file` are whole.

    Args:
        job: name of the command; each command has a file in `outdir` that lists the photos it has done.
        sources: photos and folders of photos.
        outdir: folder of the results, made when missing; if it lies within an input folder, it is not searched.
        read: reads a photo for `process`; UserError for a bad one.
        process: writes the results of some photos by `replace_file`, and returns their paths for each photo.
        settings: JSON values on which the results depend, with the hashes of networks.
        batch: photos that `process` gets at once; those of a batch are the same for any number of processes.
        share: part of this process among those that divide the photos; None: all of them.

    Returns the summary of this process's part.
    Raises UserError before any work when there is no photo, or when `outdir` cannot be written or holds the photos.
    """
    assert batch >= 1, f"batch {batch} is not positive"
    share = share or Share(torch.device("cpu"))
    outdir = Path(outdir)
    photos = photos_by_name(list(map(Path, sources)), outdir)
    record = DoneRecord(prepare_directory(outdir), job, settings, str(share.rank) if share.rank else "")
    tasks = _tasks(photos, outdir, record)
    names = set(share.agree(lambda: [task.name for task in tasks if not record.is_done(task)]))
    pending = [task for task in tasks if task.name in names]
    summary = Summary(already=len(tasks) - len(pending))
    parts = [pending[start : start + batch] for start in range(0, len(pending), batch)]
    with Progress(job, len(tasks), summary.already, share) as progress, _stoppable(summary):
        for part in share.claim(parts, _names):
            for task, outcome in _process(part, read, process):
                if isinstance(outcome, UserError):
                    summary.failed.append(_sentence(task, outcome))
                    progress.advance(f"{task.name}: skipped")
                else:
                    record.add(task, outcome)
                    summary.done += 1
                    progress.advance(f"{task.name}: done")
    return summary


def _names(part: Sequence[PhotoTask]) -> str:
    return ", ".join(task.name for task in part)


def _tasks(photos: Mapping[str, Path], outdir: Path, record: DoneRecord) -> list[PhotoTask]:
    """Return a task for each photo; results keep the name that they have, and no two photos share a name."""
    bases = {name: base for name in photos if (base := record.base(name)) is not None}
    taken = TakenNames(entry["base"] for entry in record.entries.values() if "base" in entry)
    for name in photos:
        if name not in bases:
            bases[name] = _free_base(name, taken)
            taken.add(bases[name])
    return [PhotoTask(name, photo, outdir, bases[name]) for name, photo in photos.items()]


def _free_base(name: str, taken: TakenNames) -> str:
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


def _process(tasks: Sequence[PhotoTask], read: Read[Item], process: Process[Item]) -> Iterator[PhotoOutcome]:
    """Yield for each photo the paths of its results, or the error that concerns it."""
    readable: list[tuple[PhotoTask, Item]] = []
    for task in tasks:
        try:
            readable.append((task, read(task)))
        except UserError as error:
            yield task, _require_single(error)
    yield from _process_readable(readable, process)


def _process_readable(readable: Sequence[tuple[PhotoTask, Item]], process: Process[Item]) -> Iterator[PhotoOutcome]:
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
        if summary.stopped_by is None:  # a terminal, and the process that has started this one, may both signal
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
