"""A cache of the finished parts of a table, so that a command that was stopped continues after the last of them."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.files import prepare_directory, write_text
from dnnlib.limits import METADATA_BYTES
from dnnlib.reading import read_json


class PartCache:
    """The finished parts of a table, in a file beside it.

    Args:
        outdir: folder of the table.
        name: name of the table.
        settings: all that every part depends on, as JSON. Parts of other settings stay in the file.
    """

    def __init__(self, outdir: str | os.PathLike, name: str, settings: dict[str, Any]) -> None:
        self.path = prepare_directory(outdir) / f"{name}-parts.json"
        self.settings = settings
        self.entries = self._read()

    def get(self, part: dict[str, Any], make: Callable[[], Any], files: Sequence[Path] = ()) -> Any:
        """Return the JSON of a part, which is computed unless it is known and its files exist.

        Args:
            part: all that the part depends on besides the settings, as JSON.
            make: function that computes the part and writes its files.
            files: files that belong to the part.
        """
        text = json.dumps({**self.settings, **part}, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self.entries or not all(file.is_file() for file in files):
            self.entries[key] = {"part": part, "result": make()}
            write_text(self.path, json.dumps(self.entries) + "\n")
        return self.entries[key]["result"]

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self.path.exists():
            return {}
        try:
            entries = read_json(self.path, METADATA_BYTES)
        except UserError:
            entries = None
        is_ours = isinstance(entries, dict) and all(
            isinstance(entry, dict) and "result" in entry for entry in entries.values()
        )
        if not is_ours:
            raise UserError(f"{self.path} is damaged; delete it, and the same command begins anew")
        return entries
