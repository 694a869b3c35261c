"""What a run reports: console and log file, `stats.jsonl`, TensorBoard events."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from dnnlib.errors import UserError
from dnnlib.running.log import RunLog
from torch_utils.memory import peak_memory
from training.run_directory import RunDirectory

TickLine = Callable[[int, Mapping[str, float]], str]  # images seen, means over the tick -> line of the log

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Report:
    """The outputs of a run.

    Args:
        directory: directory of the run.
        kimg: length of the run, for the progress bar.
        images_seen: number of images after which the run begins or continues; later statistics of an interrupted run
            are dropped.
        tick_line: makes the line of the log about a tick.
        is_silent: whether nothing is printed and written, as in processes other than the first.
    """

    def __init__(
        self, directory: RunDirectory, kimg: float, images_seen: int, tick_line: TickLine, is_silent: bool = False
    ) -> None:
        self.directory = directory
        self.tick_line = tick_line
        path = None if is_silent else directory.log_path
        self.events: SummaryWriter | None = None
        try:
            self.log = RunLog(path, total=kimg, initial=images_seen / 1000, unit="kimg")
            if not is_silent:
                directory.forget_stats_after(images_seen or -1)
                self.events = _new_events(str(directory.path), images_seen)
        except OSError as error:
            raise UserError(
                f"{error.filename or directory.path} cannot be written: {error.strerror}; move it away, or choose "
                "another --outdir"
            ) from error
        self.last_time = time.perf_counter()
        self.last_images = images_seen

    def tick(self, images_seen: int, means: Mapping[str, float], device: torch.device) -> None:
        """Print one line about a tick, and write the same numbers as JSON and events.

        Args:
            images_seen: number of images that have been trained on.
            means: means over the tick by name; time and memory are added to them.
            device: device whose memory is reported.
        """
        now = time.perf_counter()
        seconds_per_kimg = (now - self.last_time) / max(images_seen - self.last_images, 1) * 1000
        memory = peak_memory(device) / 2**30
        means = {**means, "Timing/sec_per_kimg": seconds_per_kimg, "Resources/peak_memory_gb": memory}
        self.last_time = now
        self.last_images = images_seen
        if self.events is not None:
            self.log.line(self.tick_line(images_seen, means))
            self.directory.append_stats({"images_seen": images_seen, "time": time.time(), **means})
            self._write_events(means, images_seen)

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
        if self.events is not None:
            self.events.close()

    def _write_events(self, scalars: Mapping[str, float], images_seen: int) -> None:
        if self.events is None:
            return
        for name, value in scalars.items():
            self.events.add_scalar(name, value, images_seen)
        self.events.flush()


def network_tick_line(images_seen: int, means: Mapping[str, float]) -> str:
    """Return `kimg 4.0 | 61.2 s/kimg | 1.9 GB | augment sharp 0.012 | G/sharp 0.71 | ...`."""
    columns = [
        f"kimg {images_seen / 1000:.1f}",
        f"{means['Timing/sec_per_kimg']:.1f} s/kimg",
        f"{means['Resources/peak_memory_gb']:.1f} GB",
    ]
    columns += [f"augment {n.rsplit('/', 1)[1]} {v:.3f}" for n, v in means.items() if n.startswith("Progress/augment")]
    losses = ("Loss/G/", "Loss/D/", "Loss/path", "Loss/r1")
    columns += [f"{name.removeprefix('Loss/')} {value:.3g}" for name, value in means.items() if name.startswith(losses)]
    return " | ".join(columns)


def _new_events(folder: str, images_seen: int) -> "SummaryWriter":
    """Return what writes TensorBoard's events; those after so many images, of an interrupted run, are dropped."""
    from torch.utils.tensorboard import SummaryWriter  # here, since every command would wait for its import

    return SummaryWriter(folder, purge_step=images_seen + 1 if images_seen else None)
