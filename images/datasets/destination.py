"""Where a data set is written to: a zip, a tar, a folder, or a range of shards."""

import contextlib
import io
import os
import secrets
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnnlib.errors import UserError
from dnnlib.files import NAME_KEPT, replace_file
from images.containers.shards import shard_paths

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal datasets are equal bytes
MOST_OPEN = 500  # shards that are written at once; systems let a process have 1024 files

Put = Callable[[str, bytes], None]  # stores a file by its name


@dataclass(frozen=True)
class Destination:
    """What a data set is written to.

    Attributes:
        parts: function for each shard that stores a file.
    """

    parts: Sequence[Put]

    @property
    def shards(self) -> int:
        """Number of archives."""
        return len(self.parts)

    def put(self, number: int, name: str, data: bytes) -> None:
        """Store a file; those of consecutive numbers go to the shards in turn."""
        self.parts[number % len(self.parts)](name, data)


@contextlib.contextmanager
def open_destination(dest: str | os.PathLike) -> Iterator[Destination]:
    """Yield what stores files; the data set appears at `dest` at the end, its shards one after the other.

    Raises UserError for a destination that cannot be written.
    """
    paths = shard_paths(dest)
    if len(paths) > MOST_OPEN:
        raise UserError(
            f"--output {dest} are {len(paths):,} shards, at most {MOST_OPEN} can be written", "make them larger"
        )
    with contextlib.ExitStack() as stack:
        yield Destination([stack.enter_context(_part(path, is_shard=len(paths) > 1)) for path in paths])


def _part(path: Path, is_shard: bool) -> contextlib.AbstractContextManager[Put]:
    if not path.parent.is_dir():
        raise UserError(f"the folder {path.parent} of --output does not exist; make it first")
    kind = path.suffix.lower()
    if kind in ARCHIVES:
        return ARCHIVES[kind](path)
    if is_shard:
        raise UserError(f"--output names the shard {path}, which is no archive; write NAME-{{000..015}}.tar or .zip")
    return _folder(path)


@contextlib.contextmanager
def _zip(path: Path) -> Iterator[Put]:
    with replace_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        yield lambda name, data: _put_in_zip(archive, name, data)


@contextlib.contextmanager
def _tar(path: Path) -> Iterator[Put]:
    with replace_file(path) as temporary, tarfile.TarFile(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
        yield lambda name, data: _put_in_tar(archive, name, data)


@contextlib.contextmanager
def _folder(dest: Path) -> Iterator[Put]:
    if os.path.lexists(dest) and not _is_free(dest):
        raise UserError(f"{dest} exists already and is no .zip; pass a new folder or OUT.zip as --output")
    temporary = dest.with_name(f".{dest.name[:NAME_KEPT]}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(mode=0o700)
        yield lambda name, data: _put_in_folder(temporary, name, data)
        temporary.chmod(0o755)
        temporary.replace(dest)
    except OSError as error:
        raise UserError(f"cannot write {dest}: {error.strerror or error}; free some space or choose another") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_free(dest: Path) -> bool:
    """Return whether something is an empty folder, which the data set can replace: none where a disk is mounted."""
    return dest.is_dir() and not os.path.ismount(dest) and not any(dest.iterdir())


def _put_in_zip(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, ZIP_EPOCH)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same bytes on every system
    archive.writestr(entry, data)


def _put_in_folder(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _put_in_tar(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # of 1970, and of nobody: the same bytes everywhere
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))


ARCHIVES = {".zip": _zip, ".tar": _tar}
