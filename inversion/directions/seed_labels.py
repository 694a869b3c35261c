"""Labels or scores of generated images by seed, in .csv or .json files."""

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError, counted
from dnnlib.files import write_text
from dnnlib.parsing import existing
from dnnlib.reading import UnreadableError, parse_json, read_text
from generation.quality_codes import MAX_SEED, is_seed


@dataclass(frozen=True)
class SeedLabels:
    """Labels or scores of some generated images.

    Attributes:
        seeds: seeds of the images, each once.
        scores: a number for each image; labels are 0 and 1.
    """

    seeds: list[int]
    scores: list[float]


def read_labels(path: str | Path) -> SeedLabels:
    """Return the labels in a file: .json, an object `{"seed": score}`; .csv, lines `seed,score`, header optional.

    Raises UserError for any other file, for a seed that is invalid or repeated, and for a score that is no number.
    """
    path = existing(path, "labels")
    readers = {".json": _read_json, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise UserError(f"labels {path} have none of the endings {', '.join(readers)}; convert them to one of them")
    try:
        pairs = readers[path.suffix.lower()](path)
    except UnreadableError as error:
        raise error.with_cure("write lines seed,score in UTF-8") from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"labels {path} are damaged or of another format ({error}); write lines seed,score") from error
    seeds = [_seed(text, path) for text, _ in pairs]
    if len(set(seeds)) < len(seeds):
        twice = Counter(seeds).most_common(1)[0][0]
        raise UserError(f"labels {path} name seed {twice} twice; name it once")
    return SeedLabels(seeds, [_score(text, seed, path) for seed, (_, text) in zip(seeds, pairs, strict=True)])


def write_labels(path: str | Path, labels: SeedLabels) -> None:
    """Write lines `seed,score`, which `read_labels` reads, in one step."""
    lines = [f"{seed},{score:.9g}" for seed, score in zip(labels.seeds, labels.scores, strict=True)]
    write_text(path, "\n".join(["seed,score", *lines, ""]))


def _read_json(path: Path) -> list[tuple[str, Any]]:
    content = parse_json(read_text(path), object_pairs_hook=list)
    if not isinstance(content, list) or not all(isinstance(pair, tuple) for pair in content):
        raise ValueError("no object of seeds")
    return content


def _read_csv(path: Path) -> list[tuple[str, Any]]:
    rows = [row for row in csv.reader(io.StringIO(read_text(path), newline="")) if row]
    if rows and not any(letter.isdigit() for letter in rows[0][0]):
        rows = rows[1:]  # names of the columns
    bad = next((row for row in rows if len(row) != 2), None)
    if bad is not None:
        raise ValueError(f"line '{','.join(bad)}' has {counted(len(bad), 'column')}")
    return [(seed, score) for seed, score in rows]


def _seed(text: str, path: Path) -> int:
    text = text.strip()
    if not is_seed(text):
        bound = f"must be a number from 0 to {MAX_SEED}"
        raise UserError(f"labels {path} have '{text[:40]}' for a seed, {bound}; correct it")
    return int(text)


def _score(value: Any, seed: int, path: Path) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise UserError(f"labels {path} have '{str(value)[:40]}' for seed {seed}, must be a finite number; correct it")
    return score
