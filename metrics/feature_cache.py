"""A cache of the features of real images on disk; an entry's name is a hash of all that the features depend on."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.cache import cache_folder, private_folder
from dnnlib.errors import UserError
from dnnlib.files import sha256, write_text
from dnnlib.reading import read_json
from metrics.features import Extractor, extract, read_rows
from metrics.image_stream import ImageStream
from torch_utils.distributed import World

logger = logging.getLogger(__name__)


class FeatureCache:
    """Entries `<digest>.npy` with a record `<digest>.json` beside it, which is written last.

    An entry without a whole record, or whose bytes have changed since, is made anew. So neither a crash nor a second
    program that writes to the same folder leads to the use of wrong features.

    Args:
        folder: folder of the entries; it is made when needed.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def find(self, key: dict[str, Any]) -> np.ndarray | None:
        """Return the rows `[N, D]` of an entry; None when there is no entry, or a damaged one (with a warning)."""
        path = self._path(key)
        if not path.with_suffix(".json").exists():
            return None
        try:
            record = read_json(path.with_suffix(".json"))
            if isinstance(record, dict) and sha256(path) == record.get("sha256"):
                return read_rows(path)
        except UserError:
            pass  # a record that cannot be read is damaged, too
        logger.warning("the cached features %s are damaged; they are computed anew", path)
        return None

    def temporary(self, key: dict[str, Any]) -> Path:
        """Return a path to write the rows of a new entry to, before `store` moves them to their place."""
        if self.folder.is_relative_to(cache_folder("")):
            private_folder(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(dir=self.folder, prefix=f".{self._path(key).name}.", suffix=".part")
        except OSError as error:
            raise UserError(
                f"the cache {self.folder} cannot be written ({error.strerror}); choose another --cache-dir"
            ) from error
        os.close(handle)
        return Path(path)

    def store(self, key: dict[str, Any], rows: Path) -> np.ndarray:
        """Make the file at `rows` an entry, and return its rows."""
        path = self._path(key)
        digest = sha256(rows)
        path.with_suffix(".json").unlink(missing_ok=True)
        os.replace(rows, path)
        write_text(path.with_suffix(".json"), json.dumps({"key": key, "sha256": digest}, indent=2) + "\n")
        return read_rows(path)

    def _path(self, key: dict[str, Any]) -> Path:
        text = json.dumps(key, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"


def cached_rows(
    world: World,
    cache: FeatureCache,
    stream: ImageStream,
    extractors: Mapping[str, Extractor],
    keys: Mapping[str, dict[str, Any]],
) -> dict[str, np.ndarray] | None:
    """Return the rows of each extractor for the images of a stream, from the cache where it has them.

    Args:
        world: the processes that share the work; all of them call.
        cache: the cache, used by the first process alone.
        stream: the images.
        extractors: functions from images to rows, by name.
        keys: all that the rows of each extractor depend on, by its name; used by the first process alone.

    Returns: rows `[N, D]` by name, in the first process; None in the others.
    """
    entries = {name: cache.find(keys[name]) for name in extractors} if world.is_first else {}
    rows = {name: entry for name, entry in entries.items() if entry is not None}
    missing = {name: extractors[name] for name in extractors if world.any(world.is_first and name not in rows)}
    paths = {name: cache.temporary(keys[name]) for name in missing} if world.is_first else {}
    try:
        if missing:
            extract(world, stream, missing, paths)
        if not world.is_first:
            return None
        return rows | {name: cache.store(keys[name], paths[name]) for name in missing}
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)
