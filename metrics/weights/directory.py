"""Find published weights in a local directory; nothing is downloaded here."""

import os
from dataclasses import dataclass
from pathlib import Path

from dnnlib.errors import UserError
from dnnlib.files import sha256
from metrics.weights.published import PublishedFile, published_file

VARIABLE = "QC_STYLEGAN_WEIGHTS"
DEFAULT_DIRECTORY = "~/.cache/qc-stylegan/weights"


@dataclass(frozen=True)
class WeightsDirectory:
    """The directory of published files of weights; None: no directory, so that no file is found."""

    directory: Path | None

    @classmethod
    def find(cls, flag: str | None = None) -> "WeightsDirectory":
        """Return the directory of the flag --weights-dir, of $QC_STYLEGAN_WEIGHTS, or the default, in this order."""
        chosen = flag or os.environ.get(VARIABLE) or DEFAULT_DIRECTORY
        return cls(Path(os.path.expanduser(chosen)))

    def has(self, name: str) -> bool:
        """Return whether the published file called `name` is there, under any of its file names."""
        return self._present(published_file(name)) is not None

    def path(self, name: str) -> Path:
        """Return the path of the published file called `name`; raise UserError when it isn't there."""
        entry = published_file(name)
        path = self._present(entry)
        if path is None:
            place = self.directory or "any directory of weights"
            instead = f", or {entry.instead}" if entry.instead else ""
            raise UserError(
                f"{entry.filenames[0]} is not in {place}; get it with `python calc_metrics.py weights --fetch={name}`"
                f"{instead}"
            )
        return path

    def sha256(self, name: str) -> dict[str, str]:
        """Return `{file name: SHA-256 as hex digits}` of the published file called `name`; raise as `path` does."""
        path = self.path(name)
        return {path.name: sha256(path)}

    def _present(self, entry: PublishedFile) -> Path | None:
        if self.directory is None:
            return None
        paths = [self.directory / filename for filename in entry.filenames]
        return next((path for path in paths if path.is_file()), None)
