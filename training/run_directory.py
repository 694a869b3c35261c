"""The files of a run."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dnnlib.config import differences, from_dict, to_dict
from dnnlib.errors import UserError, one_line
from dnnlib.files import write_text
from dnnlib.reading import is_text
from dnnlib.running.lock import FolderLock, require_unlocked
from images.datasets.identity import DataIdentity
from torch_utils.checkpoint import load_state, save_state
from torch_utils.checksums import checksums, find_differing, named_leaves
from torch_utils.finite import first_not_finite
from training import records
from training.config import TrainConfig, defining
from training.moments import digits_needed, moment_name
from training.ownership import CONFIG, LOG, STATE, STATS, UNMEASURED, Ownership

STATE_VERSION = 1
CHECKSUMS = "checksums"
DATA = "data"


class RunDirectory:
    """Names, reads and writes what lies in a run's directory.

    `config.json`, `log.txt`, `stats.jsonl`, `metric-<name>.jsonl`, TensorBoard events, `reals*.png` and `fakes*.png`,
    `network-snapshot-<kimg>.safetensors`, `training-state.pt`; while it runs, `.run.lock`. Whoever writes there holds
    its lock.
    """

    config_class: type = TrainConfig
    network_name = "network-snapshot"
    drawings: tuple[str, ...] = ("reals*.png", "fakes*.png")

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.digits = 0  # behind the point of the moments in names
        self.ownership = Ownership(self.path, self.network_name, self.drawings)

    @property
    def state_path(self) -> Path:
        """The training state, replaced in one step."""
        return self.path / STATE

    @property
    def log_path(self) -> Path:
        """The lines of the log."""
        return self.path / LOG

    def network_path(self, images_seen: int) -> Path:
        """Where the network of this moment goes."""
        return self.path / f"{self.network_name}-{self.moment(images_seen)}.safetensors"

    def moment(self, images_seen: int) -> str:
        """Return a moment as it is in the names of files."""
        return moment_name(images_seen, self.digits)

    def name_by(self, config: Any) -> None:
        """Let the names of files have as many digits as the ticks of a run need."""
        self.digits = digits_needed(config.run.kimg, config.run.kimg_per_tick, config.batch)

    @property
    def best_path(self) -> Path:
        """The best network so far, where a metric says which."""
        return self.path / f"{self.network_name}-best.safetensors"

    @staticmethod
    def defining(config: Any) -> Any:
        """Return the part of a configuration that must stay the same when the run is continued."""
        return defining(config)

    def require_unlocked(self) -> None:
        """Raise InUseError when a run is under way here; write nothing."""
        require_unlocked(self.path)

    @contextlib.contextmanager
    def hold(self) -> Iterator[FolderLock]:
        """Create the directory and lock it; one that is created here and stays empty goes again.

        Raises InUseError when another process holds it.
        """
        if not is_text(str(self.path)):
            raise UserError(f"the name of {self.path} is no UTF-8, which TensorBoard needs; choose another --outdir")
        is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create {self.path}: {error.strerror}; choose another --outdir") from error
        try:
            with FolderLock(self.path) as lock:
                yield lock
        finally:
            if is_new:
                with contextlib.suppress(OSError):  # something was written
                    self.path.rmdir()

    def prepare(self, config: Any, data: DataIdentity) -> tuple[dict[str, Any] | None, list[str]]:
        """Return the state of the run to continue, or None for a new one; write `config.json`.

        The directory is locked. Also returned is what differs from the run so far in how its numbers come about: its
        precision, and the data where that was allowed.

        Raises UserError for a directory of a run with another configuration or on other data, for one that holds what
        no such run may replace, and for a damaged state.
        """
        self.name_by(config)
        self.ownership.remove_leftovers()
        state, notes = self.load_state(), []
        if state is None:
            start = {"config": to_dict(_anywhere(self.defining(config))), DATA: data.to_state()}
            self.ownership.claim(start, has_config=self._has_own_config())
        else:
            before = DataIdentity.from_state(state.get(DATA))
            notes = self._compare_configs(config, is_data_known=before is not None)
            notes += [] if before is None else self._compare_data(before, data, config.run.allow_data_change)
        write_text(self._config_path, json.dumps(to_dict(config), indent=2) + "\n")
        return state, notes

    def load_state(self) -> dict[str, Any] | None:
        """Return the training state, or None when there is none yet; raise UserError when it is damaged."""
        if not self.state_path.exists():
            return None
        try:
            state = load_state(self.state_path)
        except UserError as error:
            raise error.with_cure(self.ownership.cure()) from error
        if not isinstance(state.get("trainer"), dict):
            raise UserError(f"{self.state_path} is no training state", self.ownership.cure())
        if state.get("format_version") != STATE_VERSION:
            raise UserError(
                f"{self.state_path} has format version {state.get('format_version')}, this program continues "
                f"{STATE_VERSION}; use the version of the program that wrote it"
            )
        recorded = state.pop(CHECKSUMS, None)  # states of earlier programs have none
        if recorded is not None and (damaged := find_differing(named_leaves(state), recorded)):
            raise UserError(f"{self.state_path} is damaged, {damaged[0]} is not what was saved", self.ownership.cure())
        if bad := first_not_finite(state):
            raise UserError(
                f"{self.state_path} holds NaN or infinity, in {bad}, so that no step can follow", self.ownership.cure()
            )
        return state

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the training state; on any failure the previous one stays whole.

        Raises UserError for a state that holds NaN or infinity.
        """
        if bad := first_not_finite(state):
            raise UserError(
                f"{bad} became NaN or infinite; the last saved state is untouched: start a new run in another --outdir "
                "with --init-from=its newest network and a lower --lr"
            )
        content = {"format_version": STATE_VERSION, **state}
        save_state(self.state_path, content | {CHECKSUMS: checksums(named_leaves(content))})
        self.ownership.has_state()

    def append_stats(self, record: dict[str, Any]) -> None:
        """Add a line to `stats.jsonl`."""
        records.append(self.path / STATS, record)

    def forget_stats_after(self, images_seen: int) -> None:
        """Drop the lines of steps that an interrupted run took after its last state; it will take them again."""
        for path in self.ownership.records():
            records.forget_after(path, images_seen)

    def note_unmeasured(self, images_seen: int) -> None:
        """Note that the network of this moment is to be measured, for the case that this process is killed before."""
        write_text(self._unmeasured_path, f"{images_seen}\n")

    def is_unmeasured(self, images_seen: int) -> bool:
        """Return whether the measurement of the network of this moment was not finished."""
        path = self._unmeasured_path
        return path.is_file() and path.read_text(encoding="utf-8", errors="replace").strip() == str(images_seen)

    def note_measured(self) -> None:
        """Note that the last network has been measured."""
        self._unmeasured_path.unlink(missing_ok=True)

    def prune_networks(self, keep: int | None, log: Callable[[str], None]) -> None:
        """Delete all but the newest `keep` networks."""
        if keep is None:
            return
        for path in self.ownership.numbered_networks()[:-keep]:
            path.unlink()
            log(f"Deleted {path.name}, as --keep-snapshots={keep} asks")

    @property
    def _config_path(self) -> Path:
        return self.path / CONFIG

    @property
    def _unmeasured_path(self) -> Path:
        return self.path / UNMEASURED

    def _compare_configs(self, config: Any, is_data_known: bool) -> list[str]:
        """Return what differs in precision; raise UserError where the run is another one."""
        before = self._stored_config()
        old, new = self.defining(before), self.defining(config)
        if is_data_known:  # then the data's name says nothing
            old, new = _anywhere(old), _anywhere(new)
        if changes := differences(old, new):
            raise UserError(
                f"{self.path} holds a run with another configuration ({'; '.join(changes)}); "
                "repeat its command to continue it, or choose another --outdir"
            )
        return [change for change in differences(before, config) if ".precision" in change]

    def _compare_data(self, before: DataIdentity, now: DataIdentity, is_allowed: bool) -> list[str]:
        """Return what has changed in the data; raise UserError unless that is allowed and fits."""
        changes = "; ".join(before.changes(now))
        if not changes:
            return []
        problem = f"the data have changed since {self.state_path} was saved ({changes})"
        if before.format != now.format:
            raise UserError(
                f"{problem} and do not fit its networks; put the former data back, or choose another --outdir"
            )
        if not is_allowed:
            raise UserError(f"{problem}; put the former data back, or add --allow-data-change to go on with these")
        return [f"the data have changed ({changes})"]

    def _has_own_config(self) -> bool:
        try:
            self._stored_config()
        except UserError:
            return False
        return True

    def _stored_config(self) -> Any:
        """Return the configuration of the run that has left its state here."""
        try:
            return from_dict(self.config_class, json.loads(self._config_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError, UserError) as error:
            reason = error.problem if isinstance(error, UserError) else one_line(error)
            raise UserError(
                f"{self._config_path} cannot be read ({reason})", "restore it, or choose another --outdir"
            ) from error


def _anywhere(config: Any) -> Any:
    """Return a configuration without the name of its data."""
    return dataclasses.replace(config, data=dataclasses.replace(config.data, path=""))
