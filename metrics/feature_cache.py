"""Features of real images, kept on disk under a name made of all that they depend on."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import sha256, write_text
from metrics.features import Look, extract, read_rows
from metrics.image_stream import ImageStream
from torch_utils.distributed import World

logger = logging.getLogger(__name__)


class FeatureCache:
    """Entries `<digest>.npy` with a record `<digest>.json` beside it, which is written last.

    An entry without a whole record, or whose bytes have changed since, is made anew. So neither a crash nor a second
    program at work in the same folder ever leaves features that are used and wrong.

    Args:
        folder: of the entries; made when needed.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def find(self, key: dict[str, Any]) -> np.ndarray | None:
        """Return the rows `[N, D]` of an entry, or None when there is none, or a damaged one (with a warning)."""
        path = self._path(key)
        try:
            record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            record = None
        if isinstance(record, dict) and path.is_file() and sha256(path) == record.get("sha256"):
            return read_rows(path)
        logger.warning("the cached features %s are damaged; they are computed anew", path)
        return None

    def temporary(self, key: dict[str, Any]) -> Path:
        """Return a path for the rows of a new entry, for `store` to adopt."""
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

    def _path(self, key):
        text = json.dumps(key, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"


def cached_rows(
    world: World, cache: FeatureCache, stream: ImageStream, looks: Mapping[str, Look], keys: Mapping[str, dict]
) -> dict[str, np.ndarray] | None:
    """Return the rows of each of `looks` for the images of a stream, from the cache where it has them.

    Args:
        world: the processes that share the work; all of them call.
        cache: seen by the first process alone.
        stream: the images.
        looks: what to find out of each image, by name.
        keys: by the same names, what the rows depend on.

    Returns: by name, in the first process; None in the others.
    """
    found = {name: cache.find(keys[name]) for name in looks} if world.is_first else {}
    missing = {n: look for n, look in looks.items() if world.any(world.is_first and found[n] is None)}
    paths = {name: cache.temporary(keys[name]) for name in missing} if world.is_first else {}
    try:
        if missing:
            extract(world, stream, missing, paths)
        if not world.is_first:
            return None
        return found | {name: cache.store(keys[name], paths[name]) for name in missing}
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)
