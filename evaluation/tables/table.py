"""Tables as markdown and JSON, and their cells."""

import json
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.files import write_text

EMPTY = "-"


@dataclass(frozen=True)
class Table:
    """A table of the paper, with our numbers beside.

    Attributes:
        name: name of the table's files.
        title: title above the table.
        columns: headings of the columns; the first column holds the rows' names.
        rows: text of each cell, by row.
        notes: paragraphs below the table.
        numbers: all numbers that the table is made from, as JSON.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """Return the table as markdown."""
        assert all(len(row) == len(self.columns) for row in self.rows), f"rows of {self.name} have other lengths"
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join([f"**{self.title}**", table, *self.notes]) + "\n"


def write_table(table: Table, outdir: str | os.PathLike) -> None:
    """Write `NAME.md` and `NAME.json`; raise UserError where they cannot be written."""
    folder = Path(outdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}); choose another --outdir") from error
    write_text(folder / f"{table.name}.md", table.markdown())
    write_text(folder / f"{table.name}.json", json.dumps(table.numbers, indent=2) + "\n")


def number(value: float | None, digits: int = 2) -> str:
    """Return a cell with a number; an empty cell for None."""
    return EMPTY if value is None else f"{value:.{digits}f}"


def mean_and_deviation(values: Sequence[float], digits: int = 2) -> str:
    """Return `mean ± standard deviation` of finite values; infinite ones, as the PSNR of equal images, are counted."""
    finite = [value for value in values if not math.isinf(value)]
    equal = len(values) - len(finite)
    if not finite:
        return "equal"
    text = f"{statistics.fmean(finite):.{digits}f} ± {statistics.pstdev(finite):.{digits}f}"
    return text if equal == 0 else f"{text}, {equal} of {len(values)} equal"
