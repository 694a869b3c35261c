"""Training of encoders (paper, section 3.4, stage 1): the step, and the loop around it."""

import copy
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.stop import StopRequest
from images.datasets.batches import Batch, TrainingBatches
from images.datasets.dataset import ImageDataset
from inversion.encoders.config import EncoderConfig
from inversion.encoders.encoder import build
from inversion.encoders.files import require_network, save_encoder
from inversion.encoders.losses import ImageTerms, code_terms, w_norm, weighted_sum
from inversion.encoders.pairs import Pairs, make_pairs, open_photos, reconstruct
from inversion.encoders.run import EncoderReport, EncoderRunDirectory, draw_grid
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.generators.interface import Generator
from torch_utils.memory import keep_freed_memory
from torch_utils.purposes import EncoderPurpose
from torch_utils.seeding import derive_seed
from torch_utils.stats import Statistics
from training.ema import ema_decay, update_ema


def learning_rate(config: EncoderConfig, images_seen: int) -> float:
    """Return the rate of the step that ends at `images_seen`."""
    schedule = config.schedule
    warmup = min(1.0, images_seen / max(schedule.warmup_kimg * 1000, 1))
    progress = min(1.0, images_seen / (config.run.kimg * 1000))
    falling = schedule.final + (1 - schedule.final) * (0.5 + 0.5 * math.cos(math.pi * progress))
    return config.optimizer.lr * warmup * falling


class EncoderTrainer:
    """All that training changes.

    Args:
        config: the run.
        G: the network that is inverted, frozen, on the device of the training.
        weights: where published weights lie.

    Raises UserError when published weights are asked for that are not there, and for a QC network without a network
    for q.
    """

    def __init__(self, config: EncoderConfig, G: Generator, weights: WeightsDirectory):
        if G.q_dim > 0:
            require(config.encoder.q_width > 0, "encoder.q_width", 0, "above 0, as this network has a quality code")
        self.config, self.G = config, G.eval().requires_grad_(False)
        self.device = G.device
        self.images_seen = 0
        self.statistics = Statistics(self.device)
        self.is_finite = torch.ones([], dtype=torch.bool, device=self.device)
        self.terms = ImageTerms(config.loss, weights, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.seed, EncoderPurpose.INITIAL_WEIGHTS))
            self.encoder = build(config.encoder, G, weights if config.arcface else None).train()
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
        """Return the weighted sum of all terms, and report each."""
        weights = self.config.loss
        with self._autocast():
            found = self.encoder(pairs.degraded)
        sharp, degraded = reconstruct(self.G, found)
        if found.q is None:
            sides = {"sharp": (weights.sharp, self._reported("sharp", self._distances(sharp, pairs.sharp)))}
        else:
            both = self._distances(torch.cat([degraded, sharp]), torch.cat([pairs.degraded, pairs.sharp]))
            halves = {name: values.chunk(2) for name, values in both.items()}
            sides = {
                side: (getattr(weights, side), self._reported(side, {name: half[i] for name, half in halves.items()}))
                for i, side in enumerate(("degraded", "sharp"))
            }
        total = sum(weighted_sum(terms, side) for side, terms in sides.values())
        encoder = self.encoder
        norms = self._reported("w", {"norm": w_norm(found.ws, encoder.w_avg, encoder.w_spread)})
        total = total + weights.w_norm * norms["norm"].mean()
        if pairs.known is not None:
            own = self._reported("own", code_terms(found[-len(pairs.known) :], pairs.known, encoder.w_spread))
            total = total + sum(getattr(weights, f"own_{name}") * values.mean() for name, values in own.items())
        return total

    def require_finite(self) -> None:
        """Raise UserError when a loss was not finite since the beginning."""
        if not self.is_finite:
            raise UserError(
                f"the loss became NaN or infinite before {self.images_seen / 1000:g} kimg; the last saved state is "
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

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.run.precision == "bf16")

    def _distances(self, images, targets):
        with self._autocast():
            return {name: values.float() for name, values in self.terms(images, targets).items()}

    def _reported(self, side: str, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, values in terms.items():
            self.statistics.report(f"Loss/{side}/{name}", values)
        return terms


def open_generator(config: EncoderConfig, device: torch.device) -> tuple[Generator, str]:
    """Return the network that is inverted and the licence in its header; raise UserError for any other file."""
    header = require_network(config.generator)
    bits = {"fp32": "fp32", "bf16": "stored"}[config.run.precision]
    return load(config.generator, device, bits), header.get("licence", "")


def train(config: EncoderConfig, outdir: str | os.PathLike, device: torch.device, weights: WeightsDirectory) -> None:
    """Train until `config.run.kimg`, or until SIGTERM or SIGINT; continue where `outdir` holds a training state."""
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_flush_denormal(True)
    G, licence = open_generator(config, device)
    dataset = open_photos(config, G)
    trainer = EncoderTrainer(config, G, weights)
    directory = EncoderRunDirectory(outdir)
    notes = directory.prepare(config)
    network_sha256 = sha256(Path(config.generator))
    state = directory.load_state()
    if state is not None:
        if state.get("network_sha256") != network_sha256:
            raise UserError(
                f"{outdir} holds an encoder for another network than {config.generator}; give that network again, or "
                "choose another --outdir"
            )
        trainer.load_state_dict(state["trainer"])
    _Loop(config, directory, dataset, trainer, network_sha256, licence, state is not None).run(notes)


class _Loop:
    """A run in progress."""

    def __init__(
        self,
        config: EncoderConfig,
        directory: EncoderRunDirectory,
        dataset: ImageDataset,
        trainer: EncoderTrainer,
        network_sha256: str,
        licence: str,
        resumed: bool,
    ):
        self.config, self.directory, self.dataset, self.trainer = config, directory, dataset, trainer
        self.network_sha256, self.licence, self.resumed = network_sha256, licence, resumed
        self.total = int(config.run.kimg * 1000)
        self.tick_images = max(config.batch, int(config.run.kimg_per_tick * 1000))
        self.report = EncoderReport(directory, config.run.kimg, trainer.images_seen)

    def run(self, notes: list[str]) -> None:
        """Train to the end or to a signal; `notes` go to the log first."""
        seen = self.trainer.images_seen
        if self.resumed:
            self.report.line("; ".join([f"Continuing at {seen / 1000:.1f} kimg", *notes]))
        else:
            self.report.line(f"Training an encoder on {self.dataset.num_images} images of {self.dataset.name}")
        try:
            with StopRequest() as stop:
                if seen < self.total:
                    self._train(stop)
                else:
                    self.report.line(f"Nothing to do: the run has its {self.config.run.kimg:g} kimg; raise --kimg")
        finally:
            self.report.close()

    def _train(self, stop):
        trainer, config = self.trainer, self.config
        batches = TrainingBatches(
            self.dataset,
            config.photos,
            slice(config.photos),
            config.seed,
            start=trainer.images_seen // config.batch * config.photos,
            workers=min(config.run.workers, os.cpu_count() or 1),
            pin_memory=trainer.device.type == "cuda",
        )
        if not self.resumed:
            self._draw()
        for batch in batches:
            trainer.step(batch)
            self.report.advance(config.batch)
            done = trainer.images_seen >= self.total
            tick = trainer.images_seen // self.tick_images
            if tick != (trainer.images_seen - config.batch) // self.tick_images or done:
                self._tick(tick, done)
            if done or stop.signal is not None:
                break
        self._finish(done, stop)

    def _tick(self, tick, done):
        run = self.config.run
        self.trainer.require_finite()
        self.report.tick(self.trainer.statistics, self.trainer.images_seen, self.trainer.device)
        if done:
            return
        if tick % run.image_ticks == 0:
            self._draw()
        if tick % run.snapshot_ticks == 0:
            self._save_encoder()
        if tick % run.state_ticks == 0:
            self._save_state()

    def _finish(self, done, stop):
        self.trainer.require_finite()
        if done:
            self._draw()
            path = self._save_encoder()
        self._save_state()  # after the encoder: one that could not be written is made anew by the same command
        if done:
            self.report.line(f"Done: {path}")
        else:
            self.report.line(
                f"Stopped by {stop.name} at {self.trainer.images_seen / 1000:.1f} kimg; everything is saved, "
                "the same command continues"
            )

    def _draw(self):
        trainer = self.trainer
        path = self.directory.grid_path(trainer.images_seen)
        draw_grid(path, self.dataset, trainer.encoder_ema, trainer.G, self.config.seed)

    def _save_state(self):
        self.directory.save_state({"trainer": self.trainer.state_dict(), "network_sha256": self.network_sha256})

    def _save_encoder(self):
        trainer, data = self.trainer, self.config.data
        path = self.directory.network_path(trainer.images_seen)
        provenance = {
            "kimg": trainer.images_seen / 1000,
            "data": {"name": self.dataset.name, "images": self.dataset.num_images, "mirror": self.dataset.mirror},
            "degradation": self.dataset.degradation,
            "licence": data.licence or self.licence,
        }
        save_encoder(path, trainer.encoder_ema, trainer.G, self.network_sha256, provenance)
        return path
