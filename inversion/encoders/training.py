"""The run that trains an encoder, like pSp and e4e (paper, section 3.4, stage 1)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from dnnlib.errors import UserError
from dnnlib.files import sha256
from images.datasets.batches import Batch, TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.identity import DataIdentity, identify
from inversion.encoders.config import EncoderConfig
from inversion.encoders.files import require_network, save_encoder
from inversion.encoders.pairs import open_photos
from inversion.encoders.run import EncoderRunDirectory, draw_grid, encoder_tick_line
from inversion.encoders.trainer import EncoderTrainer
from inversion.familiarity import usual_results
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.generators.interface import Generator
from training.report import Report
from training.run_loop import Run, RunLoop, prepare_processor, provenance


class EncoderRun(Run):
    """The training of an encoder.

    Args:
        config: configuration of the run.
        directory: directory of the run.
        dataset: photos to train on.
        identity: what identifies them.
        trainer: encoder and optimizer.
        report: outputs of the run.
        network_sha256: SHA-256 of the network's file.
        licence: licence in the network's header.
    """

    def __init__(
        self,
        config: EncoderConfig,
        directory: EncoderRunDirectory,
        dataset: ImageDataset,
        identity: DataIdentity,
        trainer: EncoderTrainer,
        report: Report,
        network_sha256: str,
        licence: str,
    ) -> None:
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
        self.report.log.line(f"Training an encoder on {self.dataset.num_images} images of {self.dataset.name}")

    def batches(self) -> Iterator[Batch]:
        """Yield batches of photos without end."""
        config = self.config
        batches = TrainingBatches(
            self.dataset,
            config.photos,
            slice(config.photos),
            config.seed,
            start=self.images_seen // config.batch * config.photos,
            workers=min(config.run.workers, os.cpu_count() or 1),
            pin_memory=self.trainer.device.type == "cuda",
        )
        return iter(batches)

    def step(self, batch: Batch) -> None:
        """Train on a batch of photos."""
        self.trainer.step(batch)

    def require_finite(self) -> None:
        """Raise UserError when a loss was not finite."""
        self.trainer.require_finite()

    def report_tick(self) -> None:
        """Log the means over the tick."""
        self.report.tick(self.images_seen, self.trainer.statistics.read(), self.trainer.device)

    def end_tick(self) -> None:
        """Do nothing: no time is measured between ticks."""

    def draw(self) -> None:
        """Write photos with their reconstructions."""
        path = self.directory.grid_path(self.images_seen)
        draw_grid(path, self.dataset, self.trainer.encoder_ema, self.trainer.G, self.config.seed)

    def save_state(self) -> None:
        """Replace the training state."""
        parts = {"trainer": self.trainer.state_dict(), "network_sha256": self.network_sha256}
        self.directory.save_state({**parts, "data": self.identity.to_state()})

    def rescue(self) -> None:
        """Save the state, as between any two steps."""
        with contextlib.suppress(UserError):
            self.save_state()
            self.report.log.line(f"Saved at {self.images_seen / 1000:.1f} kimg, the same command continues there")

    def save_network(self) -> str:
        """Write the encoder of this moment; return its path."""
        path = self.directory.network_path(self.images_seen)
        licence = self.config.data.licence or self.licence
        trainer = self.trainer
        usual = usual_results(trainer.encoder_ema, trainer.G, self.dataset, self.config.seed)
        facts = provenance(self.images_seen, self.dataset, self.dataset.degradation, licence, **usual)
        save_encoder(path, self.trainer.encoder_ema, self.trainer.G, self.network_sha256, facts)
        return str(path)

    def report_snapshot(self) -> None:
        """Do nothing: encoders are not measured during training."""


def train_encoder(
    config: EncoderConfig, outdir: str | os.PathLike, device: torch.device, weights: WeightsDirectory
) -> None:
    """Train until `config.run.kimg`, or until SIGTERM or SIGINT; continue where `outdir` holds a training state.

    `outdir` is locked meanwhile.
    """
    directory = EncoderRunDirectory(outdir)
    with directory.hold() as lock:
        _train(config, directory, device, weights, lock.note)


def _train(
    config: EncoderConfig,
    directory: EncoderRunDirectory,
    device: torch.device,
    weights: WeightsDirectory,
    lock_note: str,
) -> None:
    """Train in a directory that this process has locked."""
    prepare_processor(device)
    G, licence = open_generator(config, device)
    dataset = open_photos(config, G)
    identity = identify(dataset)
    state, notes = directory.prepare(config, identity)
    trainer = EncoderTrainer(config, G, weights)
    network_sha256 = sha256(Path(config.generator))
    if state is not None:
        if state.get("network_sha256") != network_sha256:
            raise UserError(
                f"{directory.path} holds an encoder for another network than {config.generator}; give that network "
                "again, or choose another --outdir"
            )
        trainer.load_state_dict(state["trainer"])
    report = Report(directory, config.run.kimg, trainer.images_seen, encoder_tick_line)
    with contextlib.closing(report):
        if lock_note:
            report.log.line(f"Note: {lock_note}")
        encoder_run = EncoderRun(config, directory, dataset, identity, trainer, report, network_sha256, licence)
        RunLoop(encoder_run, config.batch, config.run, report.log).start(state is not None, notes)


def open_generator(config: EncoderConfig, device: torch.device) -> tuple[Generator, str]:
    """Return the network that is inverted and the licence in its header; raise UserError for any other file."""
    header = require_network(config.generator)
    G = load(config.generator, device, "fp32" if config.run.precision == "fp32" else "stored")
    return G, header.get("licence", "")
