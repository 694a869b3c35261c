"""A step of the training of an encoder: its weights, their average, the optimizer and the learning rate."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError
from images.datasets.batches import Batch
from inversion.encoders.adversary import Adversary
from inversion.encoders.config import EncoderConfig
from inversion.encoders.encoder import build_encoder
from inversion.encoders.files import start_beside, start_from
from inversion.encoders.objective import Objective, ReconstructionObjective
from inversion.encoders.pairs import Pairs, make_pairs
from inversion.encoders.quality_objective import QualityObjective
from metrics.weights.directory import WeightsDirectory
from networks.generators.interface import Generator
from torch_utils.distributed import World
from torch_utils.finite import first_not_finite
from torch_utils.purposes import EncoderPurpose
from torch_utils.seeding import derive_seed
from torch_utils.stats import Statistics
from training.optimization.ema import ema_decay, update_ema
from training.optimization.gradient_average import GradientAverage


def learning_rate(config: EncoderConfig, images_seen: int) -> float:
    """Return the learning rate of the step that ends at `images_seen`."""
    schedule = config.schedule
    warmup = min(1.0, images_seen / max(schedule.warmup_kimg * 1000, 1))
    progress = min(1.0, images_seen / (config.run.kimg * 1000))
    falling = schedule.final + (1 - schedule.final) * (0.5 + 0.5 * math.cos(math.pi * progress))
    return config.optimizer.lr * warmup * falling


def _objective(config: EncoderConfig, G: Generator, weights: WeightsDirectory, world: World) -> Objective:
    """Return what the configuration trains for."""
    if config.quality_only:
        return QualityObjective(config, G)
    return ReconstructionObjective(config, G, weights, world)


class EncoderTrainer:
    """An encoder in training: its weights, their average and the optimizer.

    Args:
        config: configuration of the run.
        G: network that is inverted; it is frozen, and on the device of the training.
        weights: directory of published weights.
        world: this process's place among those that share each batch; None: it is the only one.

    Batch normalisation compares the images of a process, and its running means are those of the first one.

    Attributes:
        trained_before: thousands of images that content and network for q have seen before, as headers name them, where
            the network for q is trained alone.
        is_whole: whether all belongs to the same step; not while a step changes it.

    Raises UserError when published weights are missing, and for a QC network with an encoder that has no network for q.
    """

    def __init__(
        self, config: EncoderConfig, G: Generator, weights: WeightsDirectory, world: World | None = None
    ) -> None:
        if config.quality_only and G.q_dim == 0:
            raise UserError(f"{config.generator} is plain, without quality codes to tell; leave out --quality-only")
        if G.q_dim > 0:
            require(config.encoder.q_width > 0, "encoder.q_width", 0, "above 0, as this network has a quality code")
        self.config = config
        self.G = G.eval().requires_grad_(False)
        self.device = G.device
        self.world = world or World(0, 1, G.device)
        self.images_seen = 0
        self.is_whole = True
        self.statistics = Statistics(self.device)
        self.is_finite = torch.ones([], dtype=torch.bool, device=self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.seed, EncoderPurpose.INITIAL_WEIGHTS))
            self.encoder = build_encoder(config.encoder, G, weights if config.arcface else None).train()
            self.objective = _objective(config, self.G, weights, self.world)
        self.trained_before: dict[str, float] | None = None
        if config.quality_only:
            assert config.init_from is not None, "the configuration checks that"
            self.trained_before = start_beside(config.init_from, self.encoder, config.generator, G)
            self.encoder.freeze_content()
        elif config.init_from is not None:
            start_from(config.init_from, self.encoder, G)
        self.encoder_ema = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        adam = config.optimizer
        trained = list(self.encoder.trainable_parameters().values())
        self.optimizer = torch.optim.Adam(
            trained, lr=adam.lr, betas=(adam.beta1, adam.beta2), eps=adam.eps, foreach=True
        )
        self.average = GradientAverage(self.world, trained)

    def step(self, batch: Batch) -> None:
        """Train on this process's photos of a batch, and on as many own samples as the configuration says."""
        pairs = make_pairs(self.config, self.G, batch, self.images_seen, self.world)
        self.is_whole = False
        self.images_seen += self.config.batch
        rate = learning_rate(self.config, self.images_seen)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, sharp = self.loss_and_images(pairs)
        self.average.start()
        loss.backward()
        self.average.finish()
        self.optimizer.step()
        if self.adversary is not None:
            assert sharp is not None, "an adversary judges sharp reconstructions"
            for name, values in self.adversary.step(pairs.sharp, sharp).items():
                self.statistics.report(f"Loss/adversary/{name}", values)
                self.is_finite &= torch.isfinite(values).all()
        update_ema(self.encoder_ema, self.encoder, ema_decay(self.config.ema, self.config.batch, self.images_seen))
        self.is_finite &= torch.isfinite(loss.detach())
        self.statistics.report("Progress/lr", rate)
        self.statistics.report("Loss/total", loss)
        self.is_whole = True

    @property
    def adversary(self) -> Adversary | None:
        """What learns to tell reconstructions from photos; None without an adversarial term."""
        return self.objective.adversary

    def loss(self, pairs: Pairs) -> Tensor:
        """Return the weighted sum of all terms, and report each."""
        return self.loss_and_images(pairs)[0]

    def loss_and_images(self, pairs: Pairs) -> tuple[Tensor, Tensor | None]:
        """Return the weighted sum of all terms, and report each; and the images `[N, C, R, R]` that are judged."""
        total = torch.zeros([], device=self.device)
        terms, sharp = self.objective.terms(self.encoder, pairs, self.images_seen)
        for term in terms:
            self.statistics.report(f"Loss/{term.name}", term.values)
            total = total + term.weight * term.values.mean()
        return total, sharp

    def require_finite(self) -> None:
        """Raise UserError when a loss has not been finite since training began, or when what is saved is not."""
        bad = "the loss" if self.world.any(not self.is_finite) else first_not_finite(self.state_dict())
        if bad is not None:
            raise UserError(
                f"{bad} became NaN or infinite before {self.images_seen / 1000:g} kimg; the last saved state is "
                "untouched: start a new run in another --outdir with a lower --lr"
            )

    def state_dict(self, alone: bool = False) -> dict[str, Any]:
        """Return all that a resumed run needs to go on exactly; all processes call it, unless one is `alone`."""
        return {
            "images_seen": self.images_seen,
            "encoder": self.encoder.state_dict(),
            "encoder_ema": self.encoder_ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "statistics": self.statistics.state_dict() if alone else self.statistics.state_dict(self.world.sum),
            **({} if self.adversary is None else {"adversary": self.adversary.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.images_seen = state["images_seen"]
        self.encoder.load_state_dict(state["encoder"])
        self.encoder_ema.load_state_dict(state["encoder_ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.statistics.load_state_dict(state["statistics"], keep_counts=self.world.is_first)
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])
