"""Shards: the archives that `cats-{000..127}.tar` names, and the container of any path."""

import os
import re
import zipfile
from pathlib import Path

from dnnlib.errors import UserError
from dnnlib.parsing import existing
from dnnlib.reading import path_exists
from images.containers.container import Container
from images.containers.folder import FolderContainer
from images.containers.tars import TarContainer
from images.containers.zips import ZipContainer

MOST = 65_536  # shards of a data set
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")


def shard_paths(text: str | os.PathLike) -> list[Path]:
    """Return the paths that a text with a range such as `{000..127}` names; one without a range names itself.

    Numbers have as many digits as the first one is written with.

    Raises UserError for two ranges, for one that runs backwards, and for more than MOST shards.
    """
    text = os.fspath(text)
    ranges = _RANGE.findall(text)
    if not ranges or path_exists(text):
        return [Path(text)]
    if len(ranges) > 1:
        raise UserError(f"{text} has {len(ranges)} ranges of shards; number them by one, such as {{000..127}}")
    [(first, last)] = ranges
    if int(last) < int(first):
        raise UserError(f"the shards {text} run backwards; write {{{last}..{first}}}")
    if int(last) - int(first) >= MOST:
        raise UserError(f"{text} names {int(last) - int(first) + 1:,} shards, at most {MOST:,} work; make them larger")
    names = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [Path(_RANGE.sub(name, text)) for name in names]


def open_containers(path: str | os.PathLike, cure: str) -> list[Container]:
    """Return the container at a path, or all those of a range of shards.

    Raises UserError when nothing is there, for a shard that is missing or no archive, and for two that are copies.
    """
    paths = shard_paths(path)
    if len(paths) == 1:
        return [open_container(existing(paths[0], "image source"), cure)]
    missing = [shard for shard in paths if not path_exists(shard)]
    if missing:
        raise UserError(
            f"{len(missing)} of the {len(paths)} shards {path} are missing, first {missing[0]}",
            "write the range that is there",
        )
    folder = next((shard for shard in paths if shard.is_dir()), None)
    if folder is not None:
        raise UserError(f"{folder} of {path} is a folder; shards are archives (zip or tar)", "pack it")
    containers = []
    seen: dict[str, Path] = {}
    for shard in paths:
        container = open_container(shard, cure)
        container.close()
        containers.append(container)
        content = " ".join([*container.names[:8], *map(container.mark, container.names[:8]), str(len(container.names))])
        if container.names and seen.setdefault(content, container.path) != container.path:
            raise UserError(f"{container.path} is a copy of {seen[content]}", "make the shards again")
    return containers


def open_container(path: Path, cure: str) -> Container:
    """Return the folder, zip or tar at a path; raise UserError for anything else."""
    if path.is_dir():
        return FolderContainer(path, cure)
    if path.name.lower().endswith(".tar") and not zipfile.is_zipfile(path):
        return TarContainer(path, cure)
    return ZipContainer(path, cure)
