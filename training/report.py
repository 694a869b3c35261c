"""What a run reports: console and log file, `stats.jsonl`, TensorBoard events."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import UserError
from dnnlib.running.log import RunLog
from torch_utils.histograms import Histogram
from torch_utils.memory import peak_memory
from training.run_directory import RunDirectory
from training.sink import ALWAYS, Sinks, Start, names_of

WIDTH = 100  # letters of a tick's line; a terminal of 80 wraps it once at the most
STREAMS = ("sharp", "degraded")  # their order on the line
Column = tuple[str, Sequence[str]]  # what it is called on the line, and the statistics in it


@dataclass(frozen=True)
class TickLine:
    """Makes the line of the log about a tick: `kimg 4.0  61.2 s/kimg  G 2.04/1.86  D 0.71/0.77  ...  1.9 GB`.

    Attributes:
        legend: line above the first tick, which says what the columns are.
        columns: function from the means over a tick to the columns, the most important ones first.
    """

    legend: str
    columns: Callable[[Mapping[str, float]], Sequence[Column]]

    def __call__(self, images_seen: int, means: Mapping[str, float]) -> str:
        """Return the line; what would make it longer than WIDTH is left to `stats.jsonl`."""
        line = f"kimg {images_seen / 1000:.1f}  {means['Timing/sec_per_kimg']:.1f} s/kimg"
        parts = []
        for label, names in self.columns(means):
            if values := [_short(means[name]) for name in names if name in means]:
                parts.append(f"{label} {'/'.join(values)}")
        for part in [*parts, f"{means['Resources/peak_memory_gb']:.1f} GB"]:
            if len(line) + 2 + len(part) <= WIDTH:
                line += f"  {part}"
        return line


def _short(value: float) -> str:
    """Return a number with two decimals, or where it is small with two digits that tell something."""
    return f"{value:.2f}" if 0.1 <= abs(value) < 1e4 else f"{value:.2g}"


class Report:
    """The outputs of a run.

    Args:
        directory: directory of the run.
        kimg: length of the run, for the progress bar.
        images_seen: number of images after which the run begins or continues; later statistics of an interrupted run
            are dropped.
        tick_line: makes the line of the log about a tick; its legend stands above the first.
        is_silent: whether nothing is printed and written, as in processes other than the first.
        log: names of the services that the run is also logged to, see `training.sink`.
        config: configuration of the run, as JSON values, for these.

    Raises UserError where the files cannot be written, and for a service that begins nothing.
    """

    def __init__(
        self,
        directory: RunDirectory,
        kimg: float,
        images_seen: int,
        tick_line: TickLine,
        is_silent: bool = False,
        log: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.tick_line = tick_line
        self.has_legend = False
        path = None if is_silent else directory.log_path
        self.sinks: Sinks | None = None
        try:
            self.log = RunLog(path, total=kimg, initial=images_seen / 1000, unit="kimg")
            if not is_silent:
                directory.forget_stats_after(images_seen or -1)
                self.sinks = Sinks([ALWAYS, *names_of(log)], Start(directory.path, config or {}, images_seen))
        except OSError as error:
            raise UserError(
                f"{error.filename or directory.path} cannot be written: {error.strerror}; move it away, or choose "
                "another --outdir"
            ) from error
        self.last_time = time.perf_counter()
        self.last_images = images_seen

    def tick(
        self,
        images_seen: int,
        means: Mapping[str, float],
        device: torch.device,
        histograms: Mapping[str, Histogram] | None = None,
    ) -> None:
        """Print one line about a tick, and write the same numbers as JSON and events.

        Args:
            images_seen: number of images that have been trained on.
            means: means over the tick by name; time and memory are added to them.
            device: device whose memory is reported.
            histograms: histograms over the tick by name, for the events.
        """
        now = time.perf_counter()
        seconds_per_kimg = (now - self.last_time) / max(images_seen - self.last_images, 1) * 1000
        memory = peak_memory(device) / 2**30
        means = {**means, "Timing/sec_per_kimg": seconds_per_kimg, "Resources/peak_memory_gb": memory}
        self.last_time = now
        self.last_images = images_seen
        if self.sinks is not None:
            if not self.has_legend:
                self.log.line(self.tick_line.legend)
                self.has_legend = True
            self.log.line(self.tick_line(images_seen, means))
            self.directory.append_stats({"images_seen": images_seen, "time": time.time(), **means})
            for name, histogram in (histograms or {}).items():
                self.sinks.histogram(name, histogram, images_seen)
            self._write_events(means, images_seen)

    def drawn(self, paths: Sequence[Path], images_seen: int) -> None:
        """Show sheets that were drawn; `fakes000400-degraded.png` is called `fakes-degraded`."""
        if self.sinks is None:
            return
        for path in paths:
            self.sinks.image(re.sub(r"[\d.]+", "", path.stem), path, images_seen)
        self.sinks.flush()

    def snapshot(self, lines: Sequence[str], scalars: Mapping[str, float], images_seen: int) -> None:
        """Print what was measured of a snapshot; the time that it took is not counted as training."""
        for line in lines:
            self.log.line(line)
        self._write_events(scalars, images_seen)
        self.last_time = time.perf_counter()
        self.last_images = images_seen

    def close(self) -> None:
        """End the progress bar and close the files."""
        self.log.close()
        if self.sinks is not None:
            self.sinks.close()

    def _write_events(self, scalars: Mapping[str, float], images_seen: int) -> None:
        if self.sinks is not None:
            self.sinks.scalars(scalars, images_seen)
            self.sinks.flush()


def _network_columns(means: Mapping[str, float]) -> Sequence[Column]:
    def both(prefix: str) -> list[str]:
        return [f"{prefix}/{name}" for name in STREAMS]

    return [
        ("G", both("Loss/G")),
        ("D", both("Loss/D")),
        ("aug", both("Progress/augment")),
        ("KD", ["Loss/G/distillation"]),
        ("content", ["Loss/G/content"]),
        ("r1", both("Loss/r1_penalty")),
        ("pl", both("Loss/path_penalty")),
    ]


NETWORK_TICKS = TickLine(
    "Ticks, sharp/degraded: losses of G, D; augmentation; distillation; penalties r1, pl. All: stats.jsonl",
    _network_columns,
)
