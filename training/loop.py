"""Training of networks: open the data, continue or begin a run, and train until it has its length."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnnlib.config import to_dict
from dnnlib.errors import UserError, counted
from dnnlib.running.lock import FolderLock
from dnnlib.running.processors import usable_processors
from images.datasets.batches import Batch, TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.identity import DataIdentity, identify
from images.datasets.input_wait import InputWait
from images.datasets.prefetch import on_device
from networks.files import ImageFormat, describes_discriminator, save_network
from networks.generators.interface import Generator
from torch_utils.checkpoint import read_header
from torch_utils.distributed import LostProcessError, World
from torch_utils.ops.convolutions import convolution
from training.config import TrainConfig
from training.degrade_on import DegradeOn
from training.report import NETWORK_TICKS, Report
from training.run_directory import RunDirectory
from training.run_loop import STOP_INTERVAL, Run, RunLoop, prepare_processor, provenance, require_agreement
from training.sample_sheets import draw_fakes, draw_reals
from training.trainer import Trainer


@dataclass(frozen=True)
class SnapshotReport:
    """What a hook measures of a snapshot.

    Attributes:
        lines: lines for the log.
        scalars: numbers by name, for TensorBoard.
    """

    lines: list[str]
    scalars: dict[str, float]


# Called in every process at each snapshot: (world, network file, its EMA generator, images seen) -> report.
SnapshotHook = Callable[[World, Path, Generator, int], SnapshotReport]


def open_dataset(config: TrainConfig) -> ImageDataset:
    """Return the data set that a configuration names."""
    data = config.data
    return ImageDataset(
        data.path,
        resolution=data.resolution,
        mirror=data.mirror,
        subset=data.subset,
        use_labels=data.use_labels,
        seed=config.seed,
        on_bad_image=config.run.on_bad_image,
        degradation=data.degradation if config.degrades else None,
    )


def image_format(dataset: ImageDataset) -> ImageFormat:
    """Return the format of a data set's images, which networks must have too."""
    return ImageFormat(dataset.resolution, dataset.channels, dataset.label_dim)


def train(
    world: World,
    config: TrainConfig,
    outdir: str | os.PathLike,
    on_snapshot: SnapshotHook | None = None,
    lock: FolderLock | None = None,
) -> None:
    """Train until `config.run.kimg`, or until SIGTERM or SIGINT; continue where `outdir` holds a training state.

    Args:
        world: this process's place among all processes.
        config: configuration of the run.
        outdir: directory of the run.
        on_snapshot: measures each snapshot.
        lock: lock of `outdir`, where the caller holds it; otherwise the first process takes it.
    """
    with contextlib.ExitStack() as held:
        if world.is_first and lock is None:
            lock = held.enter_context(RunDirectory(outdir).hold())
        try:
            _train(world, config, RunDirectory(outdir), on_snapshot, "" if lock is None else lock.note)
        except LostProcessError as error:
            timeout = f"run.rank_timeout={config.run.rank_timeout:g}"
            raise error.with_cure(f"the same command continues; processes wait {timeout} s for each other") from None


def _train(
    world: World, config: TrainConfig, directory: RunDirectory, on_snapshot: SnapshotHook | None, lock_note: str
) -> None:
    """Train in a directory that this process, or the first one, has locked."""
    prepare_processor(world.device)
    convolution.use_exact(config.run.exact_convolutions)
    _require_graphs(config, world)
    if world.device.type != "cpu":
        torch.backends.cudnn.benchmark = True
        allow_tf32(config)
    dataset = open_dataset(config)
    trainer = Trainer(config, image_format(dataset), world)  # before anything is written: it refuses what does not fit
    identity = identify(dataset) if world.is_first else None
    state, notes = directory.prepare(config, identity) if identity is not None else (None, [])
    world.barrier()
    if not world.is_first:
        directory.name_by(config)
        state = directory.load_state()
    degrading = DegradeOn(config.data, world.device)
    if state is not None:
        trainer.load_state_dict(state["trainer"])
        if "degrading" in state:
            degrading.load_state_dict(state["degrading"])
    require_agreement(world, trainer.images_seen, directory.path)
    report = Report(
        *(directory, config.run.kimg, trainer.images_seen, NETWORK_TICKS, not world.is_first),
        *(config.run.log, to_dict(config)),
    )
    with contextlib.closing(report):
        if lock_note:
            report.log.line(f"Note: {lock_note}")
        network_run = NetworkRun(world, config, directory, dataset, identity, trainer, degrading, report, on_snapshot)
        RunLoop(network_run, config.batch, config.run, report.log).start(state is not None, notes)


def _require_graphs(config: TrainConfig, world: World) -> None:
    """Raise UserError where the run wants CUDA graphs that it cannot have."""
    kind = config.run.cuda_graphs
    if kind != "none" and world.device.type != "cuda":
        raise UserError(f"--cuda-graphs={kind} on a {world.device.type} device, which has none; leave it out")
    if kind == "phases" and world.size > 1:
        raise UserError(f"--cuda-graphs=phases with {world.size} processes; take --cuda-graphs=passes")


class NetworkRun(Run):
    """The training of a network in one process.

    Args:
        world: this process's place among all processes.
        config: configuration of the run.
        directory: directory of the run.
        dataset: images to train on.
        identity: what identifies them, in the first process.
        trainer: networks and optimizers.
        degrading: place where real images are degraded.
        report: outputs of the run.
        on_snapshot: measures each snapshot; None: nothing is measured.
    """

    def __init__(
        self,
        world: World,
        config: TrainConfig,
        directory: RunDirectory,
        dataset: ImageDataset,
        identity: DataIdentity | None,
        trainer: Trainer,
        degrading: DegradeOn,
        report: Report,
        on_snapshot: SnapshotHook | None,
    ) -> None:
        self.world = world
        self.config = config
        self.directory = directory
        self.dataset = dataset
        self.identity = identity
        self.trainer = trainer
        self.degrading = degrading
        self.report = report
        self.on_snapshot = on_snapshot
        self.reports_snapshots = on_snapshot is not None
        self.waiting = InputWait(world.device)

    @property
    def images_seen(self) -> int:
        """Number of images that have been trained on."""
        return self.trainer.images_seen

    def begin(self) -> None:
        """Log what the run is trained on, and draw real images."""
        log = self.report.log
        degraded = ", degraded" if self.config.data.reals == "degraded" else ""
        log.line(f"Training on {counted(self.dataset.num_images, 'image')} of {self.dataset.name}{degraded}")
        log.line(self._plan())
        init_from = self.config.init_from
        if init_from is not None and not describes_discriminator(read_header(init_from)):
            log.line(f"{init_from} has no discriminator: training starts with fresh ones")
        if self.world.is_first:
            self.report.drawn(draw_reals(self.directory, self.dataset, self.config.seed), self.images_seen)

    def _plan(self) -> str:
        """Return what the run is going to do, and where, as a line."""
        config, size, device = self.config, self.world.size, self.world.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        part = ", DegradBlocks alone" if config.train_degrad_only else ""
        return (
            f"Mode {config.mode}{part}, {self.dataset.resolution}x{self.dataset.resolution}, batch {config.batch}, "
            f"{config.run.kimg:g} kimg, on {size} process{'es' * (size > 1)} ({name}), in {self.directory.path}"
        )

    def batches(self) -> Iterator[Batch]:
        """Yield batches on the device without end; when the place of degrading changes, new workers make them."""
        first = self.world.rank * self.trainer.process_batch
        while True:
            place = self.degrading.place
            batches = TrainingBatches(
                self.dataset,
                self.config.batch,
                slice(first, first + self.trainer.process_batch),
                self.config.seed,
                start=self.images_seen,
                workers=min(self.config.run.workers, usable_processors()),
                pin_memory=self.world.device.type == "cuda",
                degrade=place == "workers",
            )
            for batch in self.waiting.measure(on_device(batches, self.world.device)):
                yield batch
                if self.degrading.place != place:
                    break

    def step(self, batch: Batch) -> None:
        """Train on a batch; where checking costs nothing, raise UserError for a loss that is not finite."""
        self.trainer.step(batch)
        if self.world.device.type == "cpu" and self.world.size == 1:
            self.trainer.guard.check({})

    def agree_to_stop(self, is_requested: bool) -> bool:
        """Return whether to stop: whether any process was asked to, when all of them compare."""
        compares = self.world.size == 1 or self.trainer.steps % STOP_INTERVAL == 0
        return compares and self.world.any(is_requested)

    def require_finite(self) -> None:
        """Raise UserError when a loss, or anything that is saved, is not finite in any process."""
        self.trainer.require_finite()

    def report_tick(self) -> None:
        """Log the means over the tick, of all processes; choose where images are degraded from here on."""
        self._choose_place()
        means = self.trainer.statistics.read(self.world.sum)
        for stream in self.trainer.streams:
            if stream.augment is not None:
                means[f"Progress/augment/{stream.name}"] = stream.augment.p.item()
        self.report.tick(self.images_seen, means, self.world.device, self.trainer.histograms.read(self.world.sum))

    def end_tick(self) -> None:
        """Measure anew how long the device waits for images."""
        self.waiting.restart()

    def draw(self) -> None:
        """Write generated images."""
        if self.world.is_first:
            G, seen = self.trainer.G_ema, self.images_seen
            self.report.drawn(draw_fakes(self.directory, self.dataset, G, self.config.seed, seen), seen)

    def save_state(self) -> None:
        """Replace the training state, with the counts of every process."""
        state = self.trainer.state_dict()
        if self.world.is_first:
            self._write_state(state)
        self.world.barrier()

    def _write_state(self, trainer_state: dict[str, Any]) -> None:
        identity = identify(self.dataset) if self.identity is None else self.identity
        parts = {"trainer": trainer_state, "degrading": self.degrading.state_dict(), "data": identity.to_state()}
        self.directory.save_state(parts)

    def rescue(self) -> None:
        """Save what this process has, after an error elsewhere, unless that interrupted the middle of a step."""
        if not self.trainer.is_whole:
            return
        with contextlib.suppress(UserError):
            self._write_state(self.trainer.state_dict(alone=True))
            self.report.log.line(f"Saved at {self.images_seen / 1000:.1f} kimg, the same command continues there")

    def save_network(self) -> str:
        """Write the network of this moment, and delete those that are too old; return its path."""
        path = self.directory.network_path(self.images_seen)
        if self.world.is_first:
            discriminators = {stream.name: stream.D for stream in self.trainer.streams}
            data, mode = self.config.data, self.config.mode
            degradation = data.degradation if self.config.degrades else None
            facts = provenance(
                self.images_seen, self.dataset, degradation, data.licence, mode=mode, subject=data.subject
            )
            save_network(path, self.trainer.G_ema, discriminators, facts)
            if self.on_snapshot is not None:
                self.directory.note_unmeasured(self.images_seen)
            self.directory.prune_networks(self.config.run.keep_snapshots, self.report.log.line)
        self.world.barrier()
        return str(path)

    def report_snapshot(self) -> None:
        """Measure the network that was just written, where there is a hook."""
        if self.on_snapshot is not None:
            path = self.directory.network_path(self.images_seen)
            measured = self.on_snapshot(self.world, path, self.trainer.G_ema, self.images_seen)
            self.report.snapshot(measured.lines, measured.scalars, self.images_seen)
            if self.world.is_first:
                self.directory.note_measured()

    def make_up_snapshot(self) -> None:
        """Measure the network of this moment where a continued run finds it unmeasured."""
        is_missing = self.world.is_first and self.directory.is_unmeasured(self.images_seen)
        if self.on_snapshot is not None and self.world.any(is_missing):
            self.report.log.line("The measurement of the newest network was interrupted; it is made up for")
            self.report_snapshot()

    def _choose_place(self) -> None:
        """Let the devices degrade where one of them has waited too long for its workers."""
        degrading = self.degrading
        if not self.config.degrades or degrading.ticks_left == 0:
            return
        if degrading.tick(self.world.any(self.waiting.waited_fraction > degrading.bound)):
            self.report.log.line(
                f"Waiting for images took more than {degrading.bound:.0%} of the time: the workers only read from here "
                "on, and the device degrades; --degrade-on=workers would leave it to them"
            )


def allow_tf32(config: TrainConfig) -> None:
    """Let this process's GPU compute float32 in tf32, or not.

    The ten bits of tf32's mantissa are no fewer than those of the types that higher resolutions use, and in true
    float32 the lower resolutions would take longer than all others. Runs in float32 everywhere stay exact.
    """
    allowed = config.run.tf32
    if allowed is None:
        allowed = config.generator.precision.dtype != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
