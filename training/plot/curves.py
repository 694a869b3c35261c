"""The curves of a run: what `stats.jsonl` and `metric-*.jsonl` hold of it, by name."""

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.parsing import existing
from training import records
from training.ownership import METRICS, STATS

NO_CURVES = ("Resources/*",)  # shown only where they are asked for


@dataclass(frozen=True)
class Curve:
    """Numbers over a run.

    Attributes:
        kimg: thousands of images seen.
        values: a number at each of these moments.
    """

    kimg: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def curves_of(run: str | os.PathLike) -> dict[str, Curve]:
    """Return the curves of a run by their names, metrics as `fd5k_cifar sharp`.

    Raises UserError for a folder that is no run's.
    """
    folder = existing(run, "run")
    statistics = records.read(folder / STATS)
    if not statistics:
        raise UserError(
            f"{folder} holds no {STATS} with numbers in it; give the --outdir of a run that has ended a tick"
        )
    curves: dict[str, Curve] = {}
    for record in statistics:
        _add(curves, record, {name: value for name, value in record.items() if "/" in name})
    for path in sorted(folder.glob(METRICS)):
        for record in records.read(path):
            values = record.get("values")
            quality = record.get("quality", "")
            if isinstance(values, dict):
                _add(curves, record, {f"{name} {quality}".strip(): value for name, value in values.items()})
    return curves


def chosen(runs: Mapping[str, Mapping[str, Curve]], patterns: Sequence[str]) -> list[str]:
    """Return the names of curves that any run has and that match one of the patterns, such as `Loss/*`.

    Without patterns all are chosen but NO_CURVES. Raises UserError for a pattern that no curve matches.
    """
    names = list(dict.fromkeys(name for curves in runs.values() for name in curves))
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise UserError(f"no curve is called {pattern}; these are there: {', '.join(names)}")
    if patterns:
        return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    return [name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in NO_CURVES)]


def labels(runs: Sequence[str]) -> list[str]:
    """Return names of runs, as short as they can be while they differ."""
    parts = [Path(run).resolve().parts for run in runs]
    for length in range(1, max(map(len, parts))):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(runs)


def _add(curves: dict[str, Curve], record: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, int | float):
            curve = curves.setdefault(name, Curve())
            curve.kimg.append(record["images_seen"] / 1000)
            curve.values.append(float(value))
