"""Whose files lie in the folder of a run: nothing is replaced there unless this run has written it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.files import write_text
from torch_utils.checkpoint import read_header
from training import records
from training.moments import by_moment

# What a run writes, beside its networks and drawings, and what of it a continued run adds to or cuts.
CONFIG = "config.json"
LOG = "log.txt"
STATE = "training-state.pt"
STATS = "stats.jsonl"
METRICS = "metric-*.jsonl"
BEGINNING = ".no-state-yet"
UNMEASURED = ".unmeasured-network"


@dataclass(frozen=True)
class Ownership:
    """What a run may find in its folder, and what it must leave alone.

    A run that has no state yet leaves the file BEGINNING, with what it was started on, so that the same command may
    replace what it wrote before it was killed.

    Args:
        folder: folder of the run, locked.
        network_name: how the names of networks begin.
        drawings: patterns of the names of drawn images.
    """

    folder: Path
    network_name: str
    drawings: Sequence[str]

    def networks(self) -> list[Path]:
        """Return the files of the run's networks by their age, the newest last; the best one comes first."""
        best = self.folder / f"{self.network_name}-best.safetensors"
        return ([best] if _is_network(best) else []) + self.numbered_networks()

    def numbered_networks(self) -> list[Path]:
        """Return the files of all networks but the best one by their moments, the newest last."""
        return sorted(self.folder.glob(f"{self.network_name}-[0-9]*.safetensors"), key=by_moment)

    def records(self) -> list[Path]:
        """Return the files of the run's records."""
        return [self.folder / STATS, *sorted(self.folder.glob(METRICS))]

    def remove_leftovers(self) -> None:
        """Remove the temporary files of runs that were killed while they wrote."""
        for path in self.folder.glob(".*.part"):
            match = re.fullmatch(r"\.(.+)\.[^.]+\.part", path.name)
            if match is not None and self._is_written(match[1]):
                path.unlink(missing_ok=True)

    def claim(self, start: dict[str, Any], has_config: bool) -> None:
        """Take the folder for a run that begins; raise UserError where it holds what no such run may replace.

        Args:
            start: what defines the run, as JSON values.
            has_config: whether `config.json` is that of a run of this kind.
        """
        beginning = self.folder / BEGINNING
        text = json.dumps(start) + "\n"
        if beginning.exists():
            if self.networks() and _text(beginning) != text:
                raise UserError(
                    f"{self.folder} holds the beginning of a run with another configuration or other data",
                    "repeat its command to continue it, or choose another --outdir",
                )
        else:
            self._require_no_run()
            self._require_no_foreign_files(has_config)
        write_text(beginning, text)

    def has_state(self) -> None:
        """Note that a state is saved: without one, nobody may replace what lies here."""
        (self.folder / BEGINNING).unlink(missing_ok=True)

    def cure(self) -> str:
        """Return what to do about a state that is lost."""
        networks = self.networks()
        start = f" with --init-from={networks[-1]}" if networks else ""
        return f"put {STATE} back from a copy, or start a new run in another --outdir{start}"

    def _require_no_run(self) -> None:
        found = self.networks()[-1:] + [path for path in self.records() if records.read(path)]
        if found:
            problem = f"{self.folder} holds {found[0].name} of a run without its {STATE}, which is not overwritten"
            raise UserError(problem, self.cure())

    def _require_no_foreign_files(self, has_config: bool) -> None:
        foreign = sorted(path.name for path in self._replaceable()) if not has_config else []
        if foreign:
            raise UserError(
                f"{self.folder} holds {foreign[0]}, which this run would write and no run like it has written",
                "move it away, or choose another --outdir",
            )

    def _replaceable(self) -> Iterator[Path]:
        """Yield the files here whose names a run uses, without empty ones: the shell may have made those for output."""
        for pattern in (CONFIG, LOG, *self.drawings):
            yield from (path for path in self.folder.glob(pattern) if not path.is_file() or path.stat().st_size > 0)

    def _is_written(self, name: str) -> bool:
        """Return whether a run writes a file of this name by way of a temporary one."""
        patterns = (
            CONFIG,
            STATE,
            STATS,
            METRICS,
            BEGINNING,
            UNMEASURED,
            f"{self.network_name}-*.safetensors",
            *self.drawings,
        )
        return any(Path(name).match(pattern) for pattern in patterns)


def _is_network(path: Path) -> bool:
    try:
        read_header(path)
    except UserError:
        return False
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
