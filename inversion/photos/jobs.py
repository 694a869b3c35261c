"""A command on many photos: goes on where it was stopped, passes over bad photos, and reports them at the end."""

import contextlib
import errno
import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tqdm

from dnnlib.errors import UserError
from dnnlib.files import prepare_directory, sha256
from images.photos import photo_files

# Of the output folder, not of one photo: the next photo would fail for the same reason.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Item = TypeVar("Item")


@dataclass(frozen=True)
class PhotoTask:
    """One photo, and where its results go.

    Attributes:
        name: of the photo below the input folder, with `/`.
        photo: its path.
        base: path of the results without their endings: `base.with_name(base.name + "-restored.png")`.
    """

    name: str
    photo: Path
    base: Path

    def output(self, ending: str) -> Path:
        """Return the path of a result, such as `restored.png`: its base, a hyphen, and the ending."""
        return self.base.with_name(f"{self.base.name}-{ending}")


@dataclass
class Summary:
    """What came of a job.

    Attributes:
        done: photos that were processed.
        already: photos whose results were there.
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
        """Return what to tell a person: counts, and a line for each photo that was passed over."""
        counts = f"{self.done} done, {self.already} were done before, {len(self.failed)} passed over"
        if self.stopped_by is not None:
            counts += f"; stopped by {signal.Signals(self.stopped_by).name}, the same command goes on from here"
        return "\n".join([counts, *self.failed])


def run_job(
    job: str,
    source: str | os.PathLike,
    outdir: str | os.PathLike,
    read: Callable[[PhotoTask], Item],
    process: Callable[[Sequence[PhotoTask], Sequence[Item]], Sequence[Sequence[Path]]],
    settings: Mapping[str, Any],
    batch: int = 1,
) -> Summary:
    """Process a photo, or all below a folder, each into `outdir` under the folder that it comes from.

    A photo is left alone when the latest run of this job on it had the same settings, its content is the same, and all
    its results are there. UserErrors belong to single photos; a batch that raises one is repeated photo by photo. A
    full or read-only disk and every other exception end the job. SIGINT and SIGTERM end it between two instructions:
    what has been finished stays recorded, and files written by `replace_file` are whole.

    Args:
        job: name of the command; `outdir` remembers what each has done in a file of its own.
        source: photo or folder.
        outdir: made when missing; an output folder within the input folder is not searched for photos.
        read: returns what `process` needs of a photo; UserError for a bad one.
        process: writes the results of some photos by `replace_file`, and returns their paths for each photo.
        settings: JSON values on which the results depend, with the hashes of networks.
        batch: photos that `process` gets at once.

    Raises UserError before any work when there is no photo, or when `outdir` cannot be written or holds the photos.
    """
    assert batch >= 1, f"batch {batch} is not positive"
    outdir = Path(outdir)
    photos = _named_photos(Path(source), outdir)
    record = DoneRecord(prepare_directory(outdir), job, settings)
    tasks = _tasks(photos, outdir, record)
    waiting = [task for task in tasks if not record.is_done(task)]
    summary = Summary(already=len(tasks) - len(waiting))
    with (
        tqdm.tqdm(total=len(tasks), initial=summary.already, desc=job, unit="photo", disable=None) as bar,
        _stoppable(summary),
    ):
        for start in range(0, len(waiting), batch):
            some = waiting[start : start + batch]
            for task, outcome in _process(some, read, process):
                if isinstance(outcome, UserError):
                    summary.failed.append(_sentence(task, outcome))
                else:
                    record.add(task, outcome)
                    summary.done += 1
            bar.update(len(some))
    return summary


class DoneRecord:
    """The file that says which photos are done: a line of JSON for each, the last one counts.

    Lines are appended one by one; one that a power cut has torn is as if it were not there.
    """

    def __init__(self, outdir: Path, job: str, settings: Mapping[str, Any]):
        self.outdir = outdir
        self.path = outdir / f"done-{job}.jsonl"
        self.settings = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self.entries: dict[str, dict[str, Any]] = {}
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
            self._append("\n" if text and not text.endswith("\n") else "")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}; choose another --outdir") from error
        for line in text.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                self.entries[entry["photo"]] = entry

    def base(self, name: str) -> str | None:
        """Return the name of the photo's results, below `outdir` and without endings, when it has any."""
        return self.entries.get(name, {}).get("base")

    def is_done(self, task: PhotoTask) -> bool:
        """Whether the photo's results are there and still what it would give."""
        entry = self.entries.get(task.name)
        if entry is None or entry.get("settings") != self.settings:
            return False
        if not all((self.outdir / file).is_file() for file in entry.get("files", [])):
            return False
        try:
            state = task.photo.stat()
            if state.st_size != entry.get("size"):
                return False
            return state.st_mtime_ns == entry.get("mtime_ns") or sha256(task.photo) == entry.get("sha256")
        except OSError:
            return False  # reading it says why

    def add(self, task: PhotoTask, files: Sequence[Path]) -> None:
        """Note that a photo is done, and the paths of its results."""
        state = task.photo.stat()
        entry = {
            "photo": task.name,
            "settings": self.settings,
            "size": state.st_size,
            "mtime_ns": state.st_mtime_ns,
            "sha256": sha256(task.photo),
            "base": task.base.relative_to(self.outdir).as_posix(),
            "files": [Path(file).relative_to(self.outdir).as_posix() for file in files],
        }
        self._append(json.dumps(entry) + "\n")
        self.entries[task.name] = entry

    def _append(self, text: str) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text)


def _named_photos(source: Path, outdir: Path) -> dict[str, Path]:
    """Return the photos by their names below the source, without those below `outdir`."""
    photos = photo_files(source)
    results = outdir.resolve()
    if source.is_dir() and results == source.resolve() or not source.is_dir() and results == source.resolve().parent:
        raise UserError(f"the output folder {outdir} is that of the photos; choose another --outdir")
    if not source.is_dir():
        return {source.name: source}
    if source.resolve() in results.parents:
        photos = [photo for photo in photos if results not in photo.resolve().parents]
    if not photos:
        raise UserError(f"no photos in {source} but those of the output folder {outdir}; check both paths")
    return {photo.relative_to(source).as_posix(): photo for photo in photos}


def _tasks(photos: Mapping[str, Path], outdir: Path, record: DoneRecord) -> list[PhotoTask]:
    """Return a task for each photo; results keep the name they have, and no two photos share one."""
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
    """Return `sub/cat` of `sub/cat.jpg`, or `sub/cat-jpg`, `sub/cat-jpg-2`, ... when it is taken."""
    path = Path(name)
    base, number = path.with_suffix("").as_posix(), 1
    if base not in taken:
        return base
    other = base = f"{base}-{path.suffix.lstrip('.')}"
    while other in taken:
        number += 1
        other = f"{base}-{number}"
    return other


def _process(tasks, read, process) -> Iterator[tuple[PhotoTask, Sequence[Path] | UserError]]:
    """Yield for each photo the paths of its results, or the error that concerns it."""
    readable = []
    for task in tasks:
        try:
            readable.append((task, read(task)))
        except UserError as error:
            yield task, _own(error)
    if not readable:
        return
    try:
        results = process([task for task, _ in readable], [item for _, item in readable])
    except UserError as error:
        if len(readable) == 1:
            yield readable[0][0], _own(error)
            return
        _own(error)
        for task, item in readable:
            yield from _process([task], lambda _, item=item: item, process)
        return
    assert len(results) == len(readable), f"{len(results)} results of {len(readable)} photos"
    yield from zip((task for task, _ in readable), results, strict=True)


def _own(error: UserError) -> UserError:
    """Return an error that concerns one photo; raise it when it concerns them all."""
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in FATAL:
        raise error
    return error


def _sentence(task: PhotoTask, error: UserError) -> str:
    text = str(error)
    return text if task.name in text else f"{task.name}: {text}"


@contextlib.contextmanager
def _stoppable(summary: Summary) -> Iterator[None]:
    """Let SIGINT and SIGTERM interrupt what runs inside, clearing up on the way out, and note which it was."""

    def interrupt(number, _):
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
