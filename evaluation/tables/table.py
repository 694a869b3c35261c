"""Tables as markdown and JSON."""

import json
import os
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
        name: of its files.
        title: above it.
        columns: headings; the first is that of the rows' names.
        rows: text in each cell.
        notes: below it.
        numbers: all that is behind it, as JSON.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """Return the table as it stands in a document."""
        assert all(len(row) == len(self.columns) for row in self.rows), f"rows of {self.name} have other lengths"
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join([f"**{self.title}**", table, *self.notes]) + "\n"


def write_table(table: Table, outdir: str | os.PathLike) -> None:
    """Write `NAME.md` and `NAME.json`; raise UserError where that cannot be done."""
    folder = Path(outdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}); choose another --outdir") from error
    write_text(folder / f"{table.name}.md", table.markdown())
    write_text(folder / f"{table.name}.json", json.dumps(table.numbers, indent=2) + "\n")


def number(value: float | None, digits: int = 2) -> str:
    """Return a cell with a number, or an empty one."""
    return EMPTY if value is None else f"{value:.{digits}f}"
