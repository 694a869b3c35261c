"""Training of encoders, like pSp and e4e (paper, section 3.4, stage 1): the loss, the step, and the run."""

import contextlib
import copy
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError
from dnnlib.files import sha256
from images.datasets.batches import Batch, TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.identity import DataIdentity, identify
from inversion.encoders.config import EncoderConfig
from inversion.encoders.encoder import build_encoder
from inversion.encoders.files import require_network, save_encoder, start_from
from inversion.encoders.losses import ImageTerms, code_terms, w_norm, weighted_code_sum, weighted_sum
from inversion.encoders.pairs import Pairs, degrade_known, make_pairs, open_photos, reconstruct
from inversion.encoders.run import EncoderRunDirectory, draw_grid, encoder_tick_line
from inversion.familiarity import usual_results
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.finite import first_not_finite
from torch_utils.purposes import EncoderPurpose
from torch_utils.seeding import derive_seed
from torch_utils.stats import Statistics
from training.optimization.ema import ema_decay, update_ema
from training.report import Report
from training.run_loop import Run, RunLoop, prepare_processor, provenance


def learning_rate(config: EncoderConfig, images_seen: int) -> float:
    """Return the learning rate of the step that ends at `images_seen`."""
    schedule = config.schedule
    warmup = min(1.0, images_seen / max(schedule.warmup_kimg * 1000, 1))
    progress = min(1.0, images_seen / (config.run.kimg * 1000))
    falling = schedule.final + (1 - schedule.final) * (0.5 + 0.5 * math.cos(math.pi * progress))
    return config.optimizer.lr * warmup * falling


class EncoderTrainer:
    """An encoder in training: its weights, their average and the optimizer.

    Args:
        config: configuration of the run.
        G: network that is inverted; it is frozen, and on the device of the training.
        weights: directory of published weights.

    Raises UserError when published weights are missing, and for a QC network with an encoder that has no network for q.
    """

    def __init__(self, config: EncoderConfig, G: Generator, weights: WeightsDirectory) -> None:
        if G.q_dim > 0:
            require(config.encoder.q_width > 0, "encoder.q_width", 0, "above 0, as this network has a quality code")
        self.config = config
        self.G = G.eval().requires_grad_(False)
        self.device = G.device
        self.images_seen = 0
        self.statistics = Statistics(self.device)
        self.is_finite = torch.ones([], dtype=torch.bool, device=self.device)
        self.terms = ImageTerms(config.loss, weights, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.seed, EncoderPurpose.INITIAL_WEIGHTS))
            self.encoder = build_encoder(config.encoder, G, weights if config.arcface else None).train()
        if config.init_from is not None:
            start_from(config.init_from, self.encoder, G)
        self.encoder_ema = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        adam = config.optimizer
        self.optimizer = torch.optim.Adam(
            self.encoder.parameters(), lr=adam.lr, betas=(adam.beta1, adam.beta2), eps=adam.eps, foreach=True
        )

    def step(self, batch: Batch) -> None:
        """Train on a batch of photos, and on as many own samples as the configuration says."""
        pairs = make_pairs(self.config, self.G, batch, self.images_seen)
        self.images_seen += self.config.batch
        rate = learning_rate(self.config, self.images_seen)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(pairs)
        loss.backward()
        self.optimizer.step()
        update_ema(self.encoder_ema, self.encoder, ema_decay(self.config.ema, self.config.batch, self.images_seen))
        self.is_finite &= torch.isfinite(loss.detach())
        self.statistics.report("Progress/lr", rate)
        self.statistics.report("Loss/total", loss)

    def loss(self, pairs: Pairs) -> Tensor:
        """Return the weighted sum of all terms, and report each.

        The degraded images of own samples are those of their known w, so that q is learnt free of w's error, which a q
        that blurs would hide.
        """
        weights = self.config.loss
        encoder = self.encoder
        with self._autocast():
            predicted: Latents = encoder(pairs.degraded)
        sharp, degraded = reconstruct(self.G, predicted)  # [N, C, R, R] each
        if predicted.q is not None and pairs.known is not None:
            at_known_w = degrade_known(self.G, pairs.known, predicted.q[-len(pairs.known) :])
            degraded = torch.cat([degraded[: -len(at_known_w)], at_known_w])
        if predicted.q is None:
            total = weighted_sum(self._report("sharp", self._distances(sharp, pairs.sharp)), weights.sharp)
        else:
            both = self._distances(torch.cat([degraded, sharp]), torch.cat([pairs.degraded, pairs.sharp]))  # [2 N]
            halves = {name: values.chunk(2) for name, values in both.items()}
            degraded_terms = self._report("degraded", {name: half[0] for name, half in halves.items()})
            sharp_terms = self._report("sharp", {name: half[1] for name, half in halves.items()})
            total = weighted_sum(degraded_terms, weights.degraded) + weighted_sum(sharp_terms, weights.sharp)
        norms = self._report("w", {"norm": w_norm(predicted.ws, encoder.w_avg, encoder.w_spread)})
        total = total + weights.w_norm * norms["norm"].mean()
        if pairs.known is not None:
            own = code_terms(predicted[-len(pairs.known) :], pairs.known, encoder.w_spread)
            total = total + weighted_code_sum(self._report("own", own), weights)
        return total

    def require_finite(self) -> None:
        """Raise UserError when a loss has not been finite since training began, or when what is saved is not."""
        bad = "the loss" if not self.is_finite else first_not_finite(self.state_dict())
        if bad is not None:
            raise UserError(
                f"{bad} became NaN or infinite before {self.images_seen / 1000:g} kimg; the last saved state is "
                "untouched: start a new run in another --outdir with a lower --lr"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs to go on exactly."""
        return {
            "images_seen": self.images_seen,
            "encoder": self.encoder.state_dict(),
            "encoder_ema": self.encoder_ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "statistics": self.statistics.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.images_seen = state["images_seen"]
        self.encoder.load_state_dict(state["encoder"])
        self.encoder_ema.load_state_dict(state["encoder_ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.statistics.load_state_dict(state["statistics"])

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.run.precision == "bf16")

    def _distances(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        with self._autocast():
            return {name: values.float() for name, values in self.terms(images, targets).items()}

    def _report(self, side: str, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Report terms to the statistics, and return them."""
        for name, values in terms.items():
            self.statistics.report(f"Loss/{side}/{name}", values)
        return terms


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
