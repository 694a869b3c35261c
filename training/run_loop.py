"""The loop of every training run, of networks and of encoders: step, report each tick, draw, save, stop on a signal."""

import abc
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from dnnlib.errors import UserError
from dnnlib.running.log import RunLog
from dnnlib.running.stop import StopRequest
from images.datasets.batches import Batch
from images.datasets.dataset import ImageDataset
from torch_utils.distributed import LostProcessError, World
from torch_utils.memory import keep_freed_memory

# What a signal waits for, in its announcement.
STEP = "this step"
MEASUREMENT = "this measurement"
# Steps after which all processes compare whether one was asked to stop; comparing makes them wait for each other.
STOP_INTERVAL = 4


class Intervals(Protocol):
    """The part of a configuration that says how long a run is, and how often it reports, draws and saves."""

    @property
    def kimg(self) -> float:
        """Length of the run, in thousands of images."""

    @property
    def kimg_per_tick(self) -> float:
        """Length of a tick, in thousands of images."""

    @property
    def image_ticks(self) -> int:
        """Ticks between two drawings."""

    @property
    def snapshot_ticks(self) -> int:
        """Ticks between two networks."""

    @property
    def state_ticks(self) -> int:
        """Ticks between two training states."""


class Run(abc.ABC):
    """One kind of training, as `RunLoop` drives it.

    Attributes:
        reports_snapshots: whether `report_snapshot` does anything; the state is then saved before it.
    """

    reports_snapshots = False

    @property
    @abc.abstractmethod
    def images_seen(self) -> int:
        """Number of images that have been trained on."""

    @abc.abstractmethod
    def begin(self) -> None:
        """Log what the run is trained on; not called when a run is continued."""

    @abc.abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Yield batches without end, from the next one that the run has not seen."""

    @abc.abstractmethod
    def step(self, batch: Batch) -> None:
        """Train on a batch."""

    @abc.abstractmethod
    def require_finite(self) -> None:
        """Raise UserError when a loss or a weight is not finite."""

    @abc.abstractmethod
    def report_tick(self) -> None:
        """Log the means over the tick."""

    @abc.abstractmethod
    def draw(self) -> None:
        """Write images that show what has been learned so far."""

    @abc.abstractmethod
    def save_network(self) -> str:
        """Write the network of this moment; return its path for the log."""

    @abc.abstractmethod
    def save_state(self) -> None:
        """Replace the training state, from which the run can be continued."""

    @abc.abstractmethod
    def report_snapshot(self) -> None:
        """Measure the network that was just written, and log the result."""

    @abc.abstractmethod
    def end_tick(self) -> None:
        """Take note that training goes on after the work at the end of a tick."""

    def agree_to_stop(self, is_requested: bool) -> bool:
        """Return whether to stop; `is_requested` tells whether this process was asked to."""
        return is_requested

    def make_up_snapshot(self) -> None:
        """Measure the network of this moment where a continued run finds it unmeasured: the run before was killed."""
        return

    def rescue(self) -> None:
        """Save the state where this process can do so alone, after an error of others that is about to end the run."""
        return


class RunLoop:
    """Trains until the run has its length, or until SIGTERM or SIGINT.

    Args:
        run: what is trained.
        batch: images a step.
        intervals: length of the run, and how often it reports, draws and saves.
        log: log of the run.
    """

    def __init__(self, run: Run, batch: int, intervals: Intervals, log: RunLog) -> None:
        self.run = run
        self.batch = batch
        self.intervals = intervals
        self.log = log
        self.total = int(intervals.kimg * 1000)
        self.tick_images = max(batch, int(intervals.kimg_per_tick * 1000))

    def start(self, is_resumed: bool, notes: Sequence[str] = ()) -> None:
        """Train to the end or to a signal; the first line of a continued run has `notes` in it."""
        with StopRequest() as stop:
            if is_resumed:
                self.log.line("; ".join([f"Continuing at {self._kimg}", *notes]))
                stop.stops_after = MEASUREMENT
                self.run.make_up_snapshot()
            else:
                self.run.begin()
            if self.run.images_seen >= self.total:
                self.log.line(f"Nothing to do: the run has its {self.intervals.kimg:g} kimg; raise --kimg")
                return
            if not is_resumed:
                self.run.draw()
            try:
                self._train(stop)
            except LostProcessError:
                self.run.rescue()
                raise

    @property
    def _kimg(self) -> str:
        return f"{self.run.images_seen / 1000:.1f} kimg"

    def _train(self, stop: StopRequest) -> None:
        run = self.run
        is_done = False
        batches = self._batches()
        while not (run.agree_to_stop(stop.signal is not None) or is_done):
            stop.stops_after = STEP
            run.step(next(batches))
            self.log.advance(self.batch / 1000)
            is_done = run.images_seen >= self.total
            tick = run.images_seen // self.tick_images
            if is_done or tick != (run.images_seen - self.batch) // self.tick_images:
                self._end_tick(tick, is_done, stop)
        batches.close()
        self._finish(is_done, stop)

    def _batches(self) -> Generator[Batch, None, None]:
        """Yield the run's batches; where they end in an error, what was learned so far is saved."""
        batches = self.run.batches()
        while True:
            try:
                batch = next(batches)
            except UserError:
                self.run.rescue()
                raise
            yield batch

    def _end_tick(self, tick: int, is_done: bool, stop: StopRequest) -> None:
        """Report tick number `tick`; draw and save in between, where it is time to."""
        run = self.run
        run.require_finite()
        run.report_tick()
        if not is_done:
            if tick % self.intervals.image_ticks == 0:
                run.draw()
            is_snapshot = tick % self.intervals.snapshot_ticks == 0
            if is_snapshot:
                run.save_network()
            if tick % self.intervals.state_ticks == 0 or (is_snapshot and run.reports_snapshots):
                run.save_state()  # after the network: one that could not be written is made anew by the same command
            if is_snapshot:
                stop.stops_after = MEASUREMENT
                run.report_snapshot()  # after the state, since it may take long
        run.end_tick()

    def _finish(self, is_done: bool, stop: StopRequest) -> None:
        run = self.run
        run.require_finite()
        path = ""
        if is_done:
            run.draw()
            path = run.save_network()
        run.save_state()  # after the network: one that could not be written is made anew by the same command
        if is_done:
            stop.stops_after = MEASUREMENT
            run.report_snapshot()
            self.log.line(f"Done: {path}")
        else:
            stop.is_unfinished = True
            self.log.line(f"Stopped by {stop.name} at {self._kimg}; everything is saved, the same command continues")


def prepare_processor(device: torch.device) -> None:
    """Let this process train at full speed, where it trains on the CPU: it keeps freed memory, and has no denormals."""
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_flush_denormal(True)


def require_agreement(world: World, images_seen: int, outdir: Path) -> None:
    """Raise UserError in every process unless all continue from the same state."""
    by_rank = torch.zeros(world.size, dtype=torch.int64)
    by_rank[world.rank] = images_seen
    seen = world.sum(by_rank).tolist()
    if len(set(seen)) > 1:
        raise UserError(
            f"the processes do not see the same training state in {outdir} (they are at {seen} images); "
            "put --outdir on a disk that all nodes share"
        )


def provenance(
    images_seen: int, dataset: ImageDataset, degradation: str | None, licence: str, **details: Any
) -> dict[str, Any]:
    """Return how a network came about, for the header of its file; `details` are further entries."""
    return {
        "kimg": images_seen / 1000,
        **details,
        "data": {"name": dataset.name, "images": dataset.num_images, "mirror": dataset.mirror},
        "degradation": degradation,
        "licence": licence,
    }
