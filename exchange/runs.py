"""The runs of a folder: what each trains, whether it is under way, how far it is, and its best network."""

import os
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.limits import METADATA_BYTES
from dnnlib.reading import read_json
from dnnlib.running.lock import InUseError, require_unlocked
from torch_utils.checkpoint import read_header
from training import records
from training.ownership import CONFIG, STATS

RUNNING, DONE, STOPPED = "running", "done", "stopped"


def is_run(folder: str | os.PathLike) -> bool:
    """Return whether a folder is the directory of a run."""
    return (Path(folder) / CONFIG).is_file()


def runs_below(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Return facts about each run whose directory lies in a folder, by name."""
    folders = [path for path in sorted(Path(folder).iterdir()) if path.is_dir() and is_run(path)]
    return [run_facts(path) for path in folders]


def run_facts(folder: Path) -> dict[str, Any]:
    """Return facts about the run in a folder; what cannot be read of it is None.

    Returns: `run`, `trains` (base, qc or encoder), `state` (running, done or stopped), `kimg`, `of_kimg`,
        `sec_per_kimg`, `best` (the metric that decides which network is the best, with its value).
    """
    config = _config(folder)
    statistics = records.read(folder / STATS)
    last = statistics[-1] if statistics else {}
    kimg, length = last.get("images_seen", 0) / 1000, config.get("run", {}).get("kimg")
    return {
        "run": folder.name,
        "trains": config.get("mode") or ("encoder" if "encoder" in config else None),
        "state": _state(folder, kimg, length),
        "kimg": kimg,
        "of_kimg": length,
        "sec_per_kimg": last.get("Timing/sec_per_kimg"),
        "best": _best(folder),
    }


def _state(folder: Path, kimg: float, length: Any) -> str:
    try:
        require_unlocked(folder)
    except InUseError:
        return RUNNING
    return DONE if isinstance(length, int | float) and kimg >= int(length * 1000) / 1000 else STOPPED


def _config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a run; {} for a file that holds none."""
    try:
        config = read_json(folder / CONFIG, METADATA_BYTES)
    except UserError:
        return {}
    is_own = isinstance(config, dict) and isinstance(config.get("run"), dict)
    return config if is_own else {}


def _best(folder: Path) -> str | None:
    """Return `fd5k_cifar sharp 12.3` of the best network of a run; None where no metric has decided."""
    for path in sorted(folder.glob("*-best.safetensors")):
        try:
            best = read_header(path).get("best")
        except UserError:
            continue
        if isinstance(best, dict) and isinstance(best.get("value"), int | float):
            return f"{best.get('metric')} {best.get('quality')} {best['value']:.5g}"
    return None
