"""The photos of a job: where their results go, and the record of those that are done."""

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.limits import METADATA_BYTES
from dnnlib.reading import parse_json, read_bytes

FOLDERS = {"strip": "strips"}  # folders of results whose kind is not the folder's name


@dataclass(frozen=True)
class PhotoTask:
    """One photo, and where its results go.

    Attributes:
        name: name of the photo below the input folder, with `/`.
        photo: path of the photo.
        outdir: folder of the results.
        base: name of the results, with `/` and without ending.
        face_number: number of the face among those of the photo, from 1 for the largest.
    """

    name: str
    photo: Path
    outdir: Path
    base: str
    face_number: int = 1

    @property
    def label(self) -> str:
        """What messages call it: the photo's name, and which of its faces it is from the second one on."""
        return self.name if self.face_number == 1 else f"{self.name}, face {self.face_number}"

    def face(self, index: int) -> "PhotoTask":
        """Return the task of a face of the photo: `cat`, the largest, then `cat-face2`, `cat-face3`, ..."""
        number = index + 1
        return dataclasses.replace(self, base=f"{self.base}-face{number}", face_number=number) if index else self

    def output(self, ending: str) -> Path:
        """Return the path of a result, in a folder of its kind that is made: `restored/cat.png` for `restored.png`."""
        kind, _, extension = ending.rpartition(".")
        path = self.outdir / FOLDERS.get(kind, kind) / f"{self.base}.{extension}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {path.parent}: {error.strerror}; choose another --outdir") from error
        return path


def stored_codes(folder: str | os.PathLike, base: str) -> Path | None:
    """Return the file of a photo's codes in the results of an earlier command, or in their folder of codes.

    In results of earlier programs it is called `cat-codes.safetensors`. None where there is none.
    """
    names = (f"codes/{base}.safetensors", f"{base}.safetensors", f"{base}-codes.safetensors")
    return next((path for path in (Path(folder) / name for name in names) if path.is_file()), None)


@dataclass(frozen=True)
class PhotoJob:
    """Photos to be inverted.

    Attributes:
        sources: photos and folders.
        outdir: folder of the results.
        codes: folder of inversions of the same photos by an earlier command, which are used; None: there is none.
        batch: photos inverted at once.
        gpus: processes that divide the photos.
        faces: which faces of a photo are taken, `all` or the `largest`.
    """

    sources: tuple[str, ...]
    outdir: str
    codes: str | None = None
    batch: int = 1
    gpus: int = 1
    faces: str = "all"


@dataclass(frozen=True)
class Pasting:
    """Whether results are also pasted back into their photos.

    Attributes:
        pastes: whether they are, at the photo's size.
        upscale: whether they are, with this many times the photo's width and height; None: they are as `pastes` says.
    """

    pastes: bool = False
    upscale: float | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether whole photos are written."""
        return self.pastes or self.upscale is not None


class DoneRecord:
    """The files that list the photos that are done: a line of JSON for each; of several lines the latest one counts.

    Lines are appended one by one; a line that a power cut has torn is ignored. Each of several processes has a file of
    its own: on file systems of clusters two cannot append to one.

    Args:
        outdir: folder of the files.
        job: name of the command.
        settings: JSON values on which the results depend.
        writer: name of the process among those that write; "" for the first.
    """

    def __init__(self, outdir: Path, job: str, settings: Mapping[str, Any], writer: str = "") -> None:
        self.outdir = outdir
        self.path = outdir / f"done-{job}{writer and '-'}{writer}.jsonl"
        self.settings = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        try:
            self._append("")
            text = _text(self.path)
            self._append("\n" if text and not text.endswith("\n") else "")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}; choose another --outdir") from error
        others = sorted({outdir / f"done-{job}.jsonl", *outdir.glob(f"done-{job}-*.jsonl")} - {self.path})
        entries = [entry for part in [*map(_text, others), text] for entry in _entries(part)]
        self.entries = {entry["photo"]: entry for entry in sorted(entries, key=lambda entry: entry.get("time", 0.0))}

    def base(self, name: str) -> str | None:
        """Return the name of the photo's results, below `outdir` and without endings; None where there are none."""
        return self.entries.get(name, {}).get("base")

    def is_done(self, task: PhotoTask) -> bool:
        """Return whether the photo's results are there, and would come out the same again."""
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
            return False  # reading the photo raises the error that tells why

    def add(self, task: PhotoTask, files: Sequence[Path]) -> None:
        """Add a line about a photo that is done, with the paths of its results."""
        state = task.photo.stat()
        entry = {
            "photo": task.name,
            "time": time.time(),
            "settings": self.settings,
            "size": state.st_size,
            "mtime_ns": state.st_mtime_ns,
            "sha256": sha256(task.photo),
            "base": task.base,
            "files": [Path(file).relative_to(self.outdir).as_posix() for file in files],
        }
        self._append(json.dumps(entry) + "\n")
        self.entries[task.name] = entry

    def _append(self, text: str) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text)


def _text(path: Path) -> str:
    return read_bytes(path, METADATA_BYTES).decode(errors="replace") if path.exists() else ""


def _entries(text: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of a record's lines; torn and foreign ones are left out."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            entry = parse_json(line)
            if _is_entry(entry):
                yield entry


def _is_entry(entry: Any) -> bool:
    """Return whether a line is about a photo, and names results below the folder of the record only."""
    if not isinstance(entry, dict) or not isinstance(entry.get("photo"), str):
        return False
    if not isinstance(entry.get("time", 0.0), int | float):
        return False
    files = entry.get("files", [])
    paths = [entry.get("base", ""), *(files if isinstance(files, list) else [None])]
    return all(isinstance(path, str) and _is_below(path) for path in paths)


def _is_below(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts and "\0" not in path
