"""The files of a run."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib.config import differences, from_dict, to_dict
from dnnlib.errors import UserError
from dnnlib.files import write_text
from torch_utils.checkpoint import load_state, save_state
from training.config import TrainConfig, defining

STATE_VERSION = 1


class RunDirectory:
    """Names, reads and writes what lies in a run's directory.

    `config.json`, `log.txt`, `stats.jsonl`, `metric-<name>.jsonl`, TensorBoard events, `reals*.png` and `fakes*.png`,
    `network-snapshot-<kimg>.safetensors`, `training-state.pt`.
    """

    config_class: type = TrainConfig
    network_name = "network-snapshot"

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    @property
    def state_path(self) -> Path:
        """The training state, replaced in one step."""
        return self.path / "training-state.pt"

    def network_path(self, images_seen: int) -> Path:
        """Where the network of this moment goes."""
        return self.path / f"{self.network_name}-{images_seen // 1000:06d}.safetensors"

    @property
    def best_path(self) -> Path:
        """The best network so far, where a metric says which."""
        return self.path / f"{self.network_name}-best.safetensors"

    @staticmethod
    def defining(config: Any) -> Any:
        """Return the part of a configuration that must stay the same when the run is continued."""
        return defining(config)

    def prepare(self, config: Any) -> list[str]:
        """Create the directory, or check that it belongs to the same run; write `config.json`.

        Returns what differs from the run so far in how its numbers come about: its precision.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create {self.path}: {error.strerror}; choose another --outdir") from error
        notes = []
        if self.state_path.exists():
            before = self._stored_config()
            notes = [change for change in differences(before, config) if ".precision" in change]
            changes = differences(self.defining(before), self.defining(config))
            if changes:
                raise UserError(
                    f"{self.path} holds a run with another configuration ({'; '.join(changes)}); "
                    "repeat its command to continue it, or choose another --outdir"
                )
        write_text(self._config_path, json.dumps(to_dict(config), indent=2) + "\n")
        return notes

    def load_state(self) -> dict[str, Any] | None:
        """Return the training state, or None when there is none yet; raise UserError when it is damaged."""
        if not self.state_path.exists():
            return None
        state = load_state(self.state_path)
        if not isinstance(state.get("trainer"), dict):
            raise UserError(f"{self.state_path} is no training state; delete it to start the run anew")
        if state.get("format_version") != STATE_VERSION:
            raise UserError(
                f"{self.state_path} has format version {state.get('format_version')}, this program continues "
                f"{STATE_VERSION}; use the version of the program that wrote it"
            )
        return state

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the training state; on any failure the previous one stays whole."""
        save_state(self.state_path, {"format_version": STATE_VERSION, **state})

    def append_stats(self, record: dict[str, Any]) -> None:
        """Add a line to `stats.jsonl`."""
        with open(self.path / "stats.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_stats_after(self, images_seen: int) -> None:
        """Drop the lines of steps that an interrupted run took after its last state; it will take them again."""
        for path in self.path.glob("*.jsonl"):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text(path, "".join(line for line in lines if _images_seen(line) <= images_seen))

    def prune_networks(self, keep: int | None, log: Callable[[str], None]) -> None:
        """Delete all but the newest `keep` networks."""
        if keep is None:
            return
        for path in sorted(self.path.glob(f"{self.network_name}-[0-9]*.safetensors"))[:-keep]:
            path.unlink()
            log(f"Deleted {path.name}, as --keep-snapshots={keep} asks")

    @property
    def _config_path(self) -> Path:
        return self.path / "config.json"

    def _stored_config(self) -> Any:
        """Return the configuration of the run that has left its state here."""
        try:
            return from_dict(self.config_class, json.loads(self._config_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, UserError) as error:
            raise UserError(
                f"{self._config_path} cannot be read ({error}); restore it, or choose another --outdir"
            ) from error


def _images_seen(line: str) -> float:
    try:
        return json.loads(line).get("images_seen", -1)  # a number that was not measured by the run itself stays
    except json.JSONDecodeError:  # the run was stopped in the middle of the line
        return float("inf")
