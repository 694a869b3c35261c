"""What a run says: lines on the console and in a file, and a progress bar on a terminal."""

import os
import sys
from pathlib import Path

import tqdm


class RunLog:
    """Prints lines, keeps them in a file, and shows progress where there is a terminal.

    Args:
        path: of the file that lines are appended to; None: nowhere (processes other than the first stay silent).
        total: what the progress bar counts to.
        initial: where it begins.
        unit: what it counts.
    """

    def __init__(self, path: str | os.PathLike | None, total: float = 0, initial: float = 0, unit: str = "it"):
        self.file = None if path is None else Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - see close()
        self.bar = None
        if self.file is not None and total > 0 and sys.stderr.isatty():
            layout = "{percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} {unit} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
            self.bar = tqdm.tqdm(total=total, initial=initial, unit=unit, bar_format=layout, dynamic_ncols=True)

    def line(self, text: str) -> None:
        """Print one line and keep it."""
        if self.file is None:
            return
        if self.bar is None:
            print(text, flush=True)
        else:
            self.bar.write(text)
        print(text, file=self.file, flush=True)

    def advance(self, amount: float) -> None:
        """Move the progress bar."""
        if self.bar is not None:
            self.bar.update(amount)

    def close(self) -> None:
        """Take the progress bar away and close the file."""
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            self.file.close()
