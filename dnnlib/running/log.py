"""Log of a run: lines on the console and in a file, and a progress bar on a terminal."""

import contextlib
import os
import sys
from pathlib import Path

import tqdm

from dnnlib.errors import ESCAPED, UserError


class RunLog:
    """Prints lines, appends them to a file, and shows a progress bar where there is a terminal.

    Args:
        path: log file that lines are appended to; with None nothing is written or printed, as in all processes but the
            first.
        total: final value of the progress bar; no bar is shown when it is 0.
        initial: first value of the progress bar.
        unit: unit of the progress bar.
    """

    def __init__(self, path: str | os.PathLike | None, total: float = 0, initial: float = 0, unit: str = "it"):
        self.file = None if path is None else Path(path).open("a", encoding="utf-8", errors=ESCAPED)  # noqa: SIM115 - see close()
        self.bar: tqdm.tqdm | None = None
        if self.file is not None and total > 0 and sys.stderr.isatty():
            layout = "{percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} {unit} [{elapsed}<{remaining}, {rate_inv_fmt}]"
            self.bar = tqdm.tqdm(total=total, initial=initial, unit=unit, bar_format=layout, dynamic_ncols=True)

    def line(self, text: str) -> None:
        """Print one line and append it to the file; raise UserError where the file cannot be written."""
        if self.file is None:
            return
        if self.bar is None:
            print(text, flush=True)
        else:
            self.bar.write(text)
        try:
            print(text, file=self.file, flush=True)
        except OSError as error:
            reason = f"{self.file.name} cannot be written: {error.strerror}"
            raise UserError(reason, "free some space, and run the same command again") from error

    def advance(self, amount: float) -> None:
        """Move the progress bar forward by `amount`."""
        if self.bar is not None:
            self.bar.update(min(amount, self.bar.total - self.bar.n))  # the last step may go beyond

    def close(self) -> None:
        """Remove the progress bar and close the file."""
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            with contextlib.suppress(OSError):  # `line` has raised it
                self.file.close()
