"""The run that trains an encoder, like pSp and e4e (paper, section 3.4, stage 1)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dnnlib.config import to_dict
from dnnlib.errors import UserError, counted
from dnnlib.files import sha256
from dnnlib.running.lock import FolderLock
from dnnlib.running.processors import usable_processors
from images.datasets.batches import Batch, TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.identity import DataIdentity, identify
from inversion.encoders.config import EncoderConfig
from inversion.encoders.files import require_network, save_encoder
from inversion.encoders.pairs import open_photos
from inversion.encoders.run import ENCODER_TICKS, EncoderRunDirectory, draw_grid
from inversion.encoders.trainer import EncoderTrainer
from inversion.familiarity import usual_results
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.generators.interface import Generator
from torch_utils.distributed import World
from training.report import Report
from training.run_loop import STOP_INTERVAL, Run, RunLoop, prepare_processor, provenance, require_agreement


class EncoderRun(Run):
    """The training of an encoder in one process.

    Args:
        world: this process's place among all processes.
        config: configuration of the run.
        directory: directory of the run.
        dataset: photos to train on.
        identity: what identifies them, in the first process.
        trainer: encoder and optimizer.
        report: outputs of the run.
        network_sha256: SHA-256 of the network's file.
        licence: licence in the network's header.
    """

    def __init__(
        self,
        world: World,
        config: EncoderConfig,
        directory: EncoderRunDirectory,
        dataset: ImageDataset,
        identity: DataIdentity | None,
        trainer: EncoderTrainer,
        report: Report,
        network_sha256: str,
        licence: str,
    ) -> None:
        self.world = world
        self.config = config
        self.directory = directory
        self.dataset = dataset
        self.identity = identity
        self.trainer = trainer
        self.report = report
        self.network_sha256 = network_sha256
        self.licence = licence

    @property
    def images_seen(self) -> int:
        """Number of images that have been trained on."""
        return self.trainer.images_seen

    def begin(self) -> None:
        """Log what the encoder is trained on."""
        images = counted(self.dataset.num_images, "image")
        self.report.log.line(f"Training an encoder on {images} of {self.dataset.name}")

    def batches(self) -> Iterator[Batch]:
        """Yield batches of photos without end."""
        config = self.config
        batches = TrainingBatches(
            self.dataset,
            config.photos,
            self.world.rows(config.photos),
            config.seed,
            start=self.images_seen // config.batch * config.photos,
            workers=min(config.run.workers, usable_processors()),
            pin_memory=self.trainer.device.type == "cuda",
        )
        return iter(batches)

    def step(self, batch: Batch) -> None:
        """Train on a batch of photos."""
        self.trainer.step(batch)

    def agree_to_stop(self, is_requested: bool) -> bool:
        """Return whether to stop: whether any process was asked to, when all of them compare."""
        steps = self.images_seen // self.config.batch
        return (self.world.size == 1 or steps % STOP_INTERVAL == 0) and self.world.any(is_requested)

    def require_finite(self) -> None:
        """Raise UserError when a loss was not finite."""
        self.trainer.require_finite()

    def report_tick(self) -> None:
        """Log the means over the tick, of all processes."""
        self.report.tick(self.images_seen, self.trainer.statistics.read(self.world.sum), self.trainer.device)

    def end_tick(self) -> None:
        """Do nothing: no time is measured between ticks."""

    def draw(self) -> None:
        """Write photos with their reconstructions."""
        if self.world.is_first:
            path = self.directory.grid_path(self.images_seen)
            draw_grid(path, self.dataset, self.trainer.encoder_ema, self.trainer.G, self.config.seed)
            self.report.drawn([path], self.images_seen)

    def save_state(self) -> None:
        """Replace the training state."""
        state = self.trainer.state_dict()
        if self.world.is_first:
            self._write_state(state)
        self.world.barrier()

    def _write_state(self, trainer_state: dict[str, Any]) -> None:
        identity = identify(self.dataset) if self.identity is None else self.identity
        parts = {"trainer": trainer_state, "network_sha256": self.network_sha256}
        self.directory.save_state({**parts, "data": identity.to_state()})

    def rescue(self) -> None:
        """Save what the first process has, after an error elsewhere, unless that interrupted the middle of a step."""
        if not (self.trainer.is_whole and self.world.is_first):  # the running means are the first one's
            return
        with contextlib.suppress(UserError):
            self._write_state(self.trainer.state_dict(alone=True))
            self.report.log.line(f"Saved at {self.images_seen / 1000:.1f} kimg, the same command continues there")

    def save_network(self) -> str:
        """Write the encoder of this moment; return its path."""
        path = self.directory.network_path(self.images_seen)
        if self.world.is_first:
            licence = self.config.data.licence or self.licence
            trainer = self.trainer
            usual = usual_results(trainer.encoder_ema, trainer.G, self.dataset, self.config.seed)
            facts = provenance(self.images_seen, self.dataset, self.dataset.degradation, licence, **usual)
            facts |= self._lengths(facts["kimg"])
            save_encoder(path, self.trainer.encoder_ema, self.trainer.G, self.network_sha256, facts)
        self.world.barrier()
        return str(path)

    def _lengths(self, kimg: float) -> dict[str, float]:
        """Return how long the content was trained, and apart from it the network for q, where that is trained alone."""
        before = self.trainer.trained_before
        return {"kimg": kimg} if before is None else {**before, "quality_kimg": before["quality_kimg"] + kimg}

    def report_snapshot(self) -> None:
        """Do nothing: encoders are not measured during training."""


def train_encoder(
    config: EncoderConfig,
    outdir: str | os.PathLike,
    world: World,
    weights: WeightsDirectory,
    lock: FolderLock | None = None,
) -> None:
    """Train until `config.run.kimg`, or until SIGTERM or SIGINT; continue where `outdir` holds a training state.

    Args:
        config: configuration of the run.
        outdir: directory of the run.
        world: this process's place among all processes.
        weights: directory of published weights.
        lock: lock of `outdir`, where the caller holds it; otherwise the first process takes it.
    """
    directory = EncoderRunDirectory(outdir)
    with contextlib.ExitStack() as held:
        if world.is_first and lock is None:
            lock = held.enter_context(directory.hold())
        _train(config, directory, world, weights, "" if lock is None else lock.note)


def train_encoder_in(
    world: World, config: EncoderConfig, outdir: str, weights: WeightsDirectory, lock: FolderLock | None
) -> None:
    """Train in one of the processes of `torch_utils.distributed.run`; see `train_encoder`."""
    train_encoder(config, outdir, world, weights, lock)


def require_shares(config: EncoderConfig, processes: int) -> None:
    """Raise UserError unless so many processes can share each batch equally, with two images or more each."""
    if config.photos % processes or config.own_samples % processes or config.batch < 2 * processes:
        raise UserError(
            f"--batch={config.batch} is {counted(config.photos, 'photo')} and "
            f"{counted(config.own_samples, 'own sample')}, which {processes} processes cannot share; "
            f"give --batch={8 * processes}, say"
        )


def _train(
    config: EncoderConfig,
    directory: EncoderRunDirectory,
    world: World,
    weights: WeightsDirectory,
    lock_note: str,
) -> None:
    """Train in a directory that this process, or the first one, has locked."""
    prepare_processor(world.device)
    require_shares(config, world.size)
    G, licence = open_generator(config, world.device)
    dataset = open_photos(config, G)
    identity = identify(dataset) if world.is_first else None
    state, notes = directory.prepare(config, identity) if identity is not None else (None, [])
    world.barrier()
    if not world.is_first:
        directory.name_by(config)
        state = directory.load_state()
    trainer = EncoderTrainer(config, G, weights, world)
    network_sha256 = sha256(Path(config.generator))
    if state is not None:
        if state.get("network_sha256") != network_sha256:
            raise UserError(
                f"{directory.path} holds an encoder for another network than {config.generator}; give that network "
                "again, or choose another --outdir"
            )
        trainer.load_state_dict(state["trainer"])
    require_agreement(world, trainer.images_seen, directory.path)
    report = Report(
        *(directory, config.run.kimg, trainer.images_seen, ENCODER_TICKS, not world.is_first),
        *(config.run.log, to_dict(config)),
    )
    with contextlib.closing(report):
        if lock_note:
            report.log.line(f"Note: {lock_note}")
        run = EncoderRun(world, config, directory, dataset, identity, trainer, report, network_sha256, licence)
        RunLoop(run, config.batch, config.run, report.log).start(state is not None, notes)


def open_generator(config: EncoderConfig, device: torch.device) -> tuple[Generator, str]:
    """Return the network that is inverted, in the run's precision, and the licence in its header.

    Raises UserError for any other file.
    """
    header = require_network(config.generator)
    G = load(config.generator, device, config.run.precision)
    G.require_own_codes(config.generator)
    return G, header.get("licence", "")
