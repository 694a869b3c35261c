"""Results of metrics as lines for people and as records in `metric-NAME.jsonl`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from dnnlib.errors import UserError
from evaluation.evaluate import Result


def result_line(result: Result) -> str:
    """Return lines such as `fid50k_full  degraded  12.345`, and one for each note."""
    values = [f"{name:<24} {result.record['quality']:<9} {value:.5g}" for name, value in result.values.items()]
    return "\n".join(values + [f"  note: {note}" for note in result.record["notes"]])


def append_records(outdir: str | os.PathLike, results: Sequence[Result]) -> None:
    """Append each result to `metric-NAME.jsonl`, made when needed; raise UserError where that cannot be written."""
    for result in results:
        path = Path(outdir) / f"metric-{result.name}.jsonl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(result.record) + "\n")
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}); choose another --outdir") from error
