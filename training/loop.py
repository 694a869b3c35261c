"""The training loop: fetch, step, and at intervals report, draw, save."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from dnnlib.errors import UserError
from dnnlib.stop import StopRequest
from images.datasets.batches import Batch, TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.input_wait import InputWait
from images.datasets.prefetch import on_device
from networks.files import ImageFormat, describes_discriminator, save_network
from torch_utils.checkpoint import read_header
from torch_utils.distributed import World
from torch_utils.memory import keep_freed_memory
from training.config import TrainConfig
from training.degrade_on import DegradeOn
from training.report import Report
from training.run_directory import RunDirectory
from training.sample_sheets import draw_fakes, draw_reals
from training.trainer import Trainer

# Steps between two looks, by all processes together, for a request to stop: each look waits for the devices.
STOP_INTERVAL = 4


@dataclass(frozen=True)
class SnapshotReport:
    """What is found out about a snapshot: lines for the log, and numbers by name for TensorBoard."""

    lines: list[str]
    scalars: dict[str, float]


# Called in every process at each snapshot: (world, network file, its EMA generator, images seen) -> report.
SnapshotHook = Callable[[World, Path, torch.nn.Module, int], SnapshotReport]


def open_dataset(config: TrainConfig) -> ImageDataset:
    """Return the images that a configuration names."""
    data = config.data
    return ImageDataset(
        data.path,
        resolution=data.resolution,
        mirror=data.mirror,
        subset=data.subset,
        use_labels=data.use_labels,
        seed=config.seed,
        on_bad_image=config.run.on_bad_image,
        degradation=data.degradation if config.mode == "qc" else None,
    )


def image_format(dataset: ImageDataset) -> ImageFormat:
    """Return what the networks must agree on with the data."""
    return ImageFormat(dataset.resolution, dataset.channels, dataset.label_dim)


def train(world: World, config: TrainConfig, outdir: str, on_snapshot: SnapshotHook | None = None) -> None:
    """Train until `config.run.kimg`, or until SIGTERM or SIGINT; continue where `outdir` holds a training state."""
    _prepare_process(config, world)
    dataset = open_dataset(config)
    directory = RunDirectory(outdir)
    trainer = Trainer(config, image_format(dataset), world)
    notes = directory.prepare(config) if world.is_first else []
    world.barrier()
    state = directory.load_state()
    degrading = DegradeOn(config.data, world.device)
    if state is not None:
        trainer.load_state_dict(state["trainer"])
        if "degrading" in state:
            degrading.load_state_dict(state["degrading"])
    _require_agreement(world, trainer.images_seen, outdir)
    _Loop(world, config, directory, dataset, trainer, degrading, on_snapshot, resumed=state is not None).run(notes)


def _require_agreement(world, images_seen, outdir):
    """Raise UserError in every process unless all continue from the same state."""
    seen = torch.zeros(world.size, dtype=torch.int64, device=world.device)
    seen[world.rank] = images_seen
    seen = world.sum(seen).tolist()
    if len(set(seen)) > 1:
        raise UserError(
            f"the processes do not see the same training state in {outdir} (they are at {seen} images); "
            "put --outdir on a disk that all nodes share"
        )


class _Loop:
    """A run in progress, in one process."""

    def __init__(self, world, config, directory, dataset, trainer, degrading, on_snapshot, resumed):
        self.world, self.config, self.directory = world, config, directory
        self.dataset, self.trainer, self.on_snapshot = dataset, trainer, on_snapshot
        self.degrading, self.waiting = degrading, InputWait(world.device)
        self.total = int(config.run.kimg * 1000)
        self.tick_images = max(config.batch, int(config.run.kimg_per_tick * 1000))
        self.resumed = resumed
        self.report = Report(world, directory, config.run.kimg, trainer.images_seen)
        self.log = self.report.log

    def run(self, notes: list[str]) -> None:
        """Train to the end or to a signal; `notes` go to the log first."""
        trainer = self.trainer
        if self.resumed:
            self.log.line("; ".join([f"Continuing at {trainer.images_seen / 1000:.1f} kimg", *notes]))
        else:
            self.log.line(f"Training on {self.dataset.num_images} images of {self.dataset.name}")
            init_from = self.config.init_from
            if init_from is not None and not describes_discriminator(read_header(init_from)):
                self.log.line(f"{init_from} has no discriminator: training starts with fresh ones")
            if self.world.is_first:
                draw_reals(self.directory, self.dataset, self.config.seed)
        try:
            with StopRequest() as stop:
                if trainer.images_seen < self.total:
                    self._train(stop)
                else:
                    self.log.line(f"Nothing to do: the run has its {self.config.run.kimg:g} kimg; raise --kimg")
        finally:
            self.report.close()

    def _train(self, stop):
        trainer = self.trainer
        if not self.resumed:
            self._draw_fakes()
        for batch in self._batches():
            trainer.step(batch)
            self.log.advance(self.config.batch / 1000)
            looks = self.world.size == 1 or trainer.steps % STOP_INTERVAL == 0
            stopping = looks and self.world.any(stop.signal is not None)
            done = trainer.images_seen >= self.total
            tick = trainer.images_seen // self.tick_images
            if tick != (trainer.images_seen - self.config.batch) // self.tick_images or done:
                self._tick(tick, done)
            elif self.world.device.type == "cpu" and self.world.size == 1:
                trainer.guard.check({})  # where looking costs nothing
            if done or stopping:
                break
        self._finish(done, stop)

    def _batches(self) -> Iterator[Batch]:
        """Yield batches on the device without end, from new workers as soon as others degrade than before."""
        while True:
            place, first = self.degrading.place, self.world.rank * self.trainer.process_batch
            batches = TrainingBatches(
                self.dataset,
                self.config.batch,
                slice(first, first + self.trainer.process_batch),
                self.config.seed,
                start=self.trainer.images_seen,
                workers=min(self.config.run.workers, os.cpu_count() or 1),
                pin_memory=self.world.device.type == "cuda",
                degrade=place == "workers",
            )
            for batch in self.waiting.measure(on_device(batches, self.world.device)):
                yield batch
                if self.degrading.place != place:
                    break

    def _tick(self, tick, done):
        self.trainer.guard.check(self.trainer.networks(), self.world.sum)
        self._choose_place()
        self._write(tick, done)
        self.waiting.restart()

    def _choose_place(self):
        """Let the devices degrade where one of them has waited too long for its workers."""
        degrading = self.degrading
        if self.config.mode != "qc" or degrading.ticks_left == 0:
            return
        if degrading.tick(self.world.any(self.waiting.waited_fraction > degrading.bound)):
            self.log.line(
                f"Waiting for images took more than {degrading.bound:.0%} of the time: the workers only read from here "
                "on, and the device degrades; --degrade-on=workers would leave it to them"
            )

    def _write(self, tick, done):
        run = self.config.run
        self.report.tick(self.trainer)
        if tick % run.image_ticks == 0 and not done:
            self._draw_fakes()
        if done:
            return
        is_snapshot = tick % run.snapshot_ticks == 0
        if is_snapshot:
            self._save_network()
        if tick % run.state_ticks == 0 or (is_snapshot and self.on_snapshot is not None):
            self._save_state()  # after the network: one that could not be written is made anew by the same command
        if is_snapshot:
            self._report_snapshot()  # after the state, since it may take long

    def _finish(self, done, stop):
        self.trainer.guard.check(self.trainer.networks(), self.world.sum)
        if done:
            self._draw_fakes()
            self._save_network()
        self._save_state()  # after the network: one that could not be written is made anew by the same command
        if done:
            self._report_snapshot()
            self.log.line(f"Done: {self.directory.network_path(self.trainer.images_seen)}")
        else:
            self.log.line(
                f"Stopped by {stop.name} at {self.trainer.images_seen / 1000:.1f} kimg; everything is saved, "
                "the same command continues"
            )

    def _draw_fakes(self):
        if self.world.is_first:
            trainer = self.trainer
            draw_fakes(self.directory, self.dataset, trainer.G_ema, self.config.seed, trainer.images_seen)

    def _save_state(self):
        state = self.trainer.state_dict()  # every process brings its counts
        if self.world.is_first:
            self.directory.save_state({"trainer": state, "degrading": self.degrading.state_dict()})
        self.world.barrier()

    def _save_network(self):
        trainer, path = self.trainer, self.directory.network_path(self.trainer.images_seen)
        if self.world.is_first:
            discriminators = {stream.name: stream.D for stream in trainer.streams}
            provenance = {
                "kimg": trainer.images_seen / 1000,
                "mode": self.config.mode,
                "data": {"name": self.dataset.name, "images": self.dataset.num_images, "mirror": self.dataset.mirror},
                "degradation": self.config.data.degradation if self.config.mode == "qc" else None,
                "licence": self.config.data.licence,
            }
            save_network(path, trainer.G_ema, discriminators, provenance)
            self.directory.prune_networks(self.config.run.keep_snapshots, self.log.line)
        self.world.barrier()

    def _report_snapshot(self):
        if self.on_snapshot is not None:
            trainer, path = self.trainer, self.directory.network_path(self.trainer.images_seen)
            found = self.on_snapshot(self.world, path, trainer.G_ema, trainer.images_seen)
            self.report.snapshot(found.lines, found.scalars, trainer.images_seen)


def _prepare_process(config, world):
    if world.device.type == "cpu":
        keep_freed_memory()
        torch.set_flush_denormal(True)
    else:
        torch.backends.cudnn.benchmark = True
        allow_tf32(config)


def allow_tf32(config: TrainConfig) -> None:
    """Let this process's GPU compute float32 in tf32, or not.

    Its ten bits of mantissa are no fewer than those of the types that higher resolutions use, and in true float32 the
    lower ones would take longer than all others. Whoever asks for float32 everywhere gets it.
    """
    allowed = config.run.tf32
    if allowed is None:
        allowed = config.generator.precision.dtype != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
