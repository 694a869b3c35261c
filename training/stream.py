"""One kind of images, sharp or degraded: its discriminator, and what augments them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from networks.discriminator import Discriminator
from networks.files import ImageFormat, build_discriminator, describes_discriminator, load_discriminator
from torch_utils.checkpoint import read_header
from torch_utils.distributed import World
from torch_utils.seeding import BatchRandom
from training.augment.adaptive import AdaptiveStrength
from training.augment.pipe import PIPES, AugmentPipe
from training.augment.windows import random_windows
from training.config import TrainConfig
from training.optimization.optimizer import lazy_adam, load_optimizer
from training.passes.first_order import first_order


@dataclass
class Stream:
    """One kind of images (sharp or degraded): its discriminator, and what augments them."""

    name: str
    index: int
    D: Discriminator
    logits_once: Callable[..., Tensor]  # D, perhaps compiled or graphed, for passes whose derivative is taken once
    optimizer: torch.optim.Optimizer
    augment: AugmentPipe | None
    strength: AdaptiveStrength | None
    pl_mean: Tensor  # running mean of the generator's path lengths in this mode

    def logits(self, images: Tensor, c: Tensor, rng: BatchRandom, second_order: bool = False) -> Tensor:
        """Return D's logits `[N, 1]` of augmented `images [N, C, H, W]`, or of windows of them.

        With `second_order`, the result may be differentiated twice.
        """
        D = self.D if second_order else self.logits_once
        return D(self._shown(images, rng), c)

    def logits_apart(self, fakes: Tensor, reals: Tensor, c: Tensor, rng: BatchRandom) -> tuple[Tensor, Tensor]:
        """Return the logits of fakes and of reals, from one pass in which neither sees the other.

        `rng` has draws for both (`copies=2`).
        """
        images = self._shown(torch.cat([fakes, reals]), rng)
        of_fakes, of_reals = self.logits_once(images, torch.cat([c, c]), 2).chunk(2)
        return of_fakes, of_reals

    def _shown(self, images: Tensor, rng: BatchRandom) -> Tensor:
        images = images if self.augment is None else self.augment(images, rng)
        window = self.D.config.window
        return random_windows(images, window, self.D.config.grid or 1, rng) if window else images

    def state_dict(self, alone: bool = False) -> dict[str, Any]:
        """Return all that a resumed run needs; counts are those of all processes, or with `alone` of this one."""
        return {
            "D": self.D.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "augment": {} if self.augment is None else self.augment.state_dict(),
            "strength": {} if self.strength is None else self.strength.state_dict(alone),
            "pl_mean": self.pl_mean,
        }

    def load_state_dict(self, state: dict[str, Any], keep_counts: bool) -> None:
        """Go on from what `state_dict` returned; without `keep_counts` counts of other processes are left out."""
        self.D.load_state_dict(state["D"])
        load_optimizer(self.optimizer, state["optimizer"])
        if self.augment is not None:
            self.augment.load_state_dict(state["augment"])
        if self.strength is not None:
            self.strength.load_state_dict(state["strength"], keep_counts)
        self.pl_mean.copy_(state["pl_mean"])


def build_stream(index: int, name: str, config: TrainConfig, images: ImageFormat, world: World) -> Stream:
    """Return stream number `index`, called `sharp` or `degraded`; its D begins as that of `config.init_from`."""
    D = build_discriminator(config.discriminator, images)
    if config.init_from is not None and describes_discriminator(read_header(config.init_from)):
        start = load_discriminator(config.init_from, name).state_dict()
        own = D.state_dict()
        # A new grid starts at 0, and with fresh weights the block of a larger side, or what is behind fewer blocks.
        known = {key: value for key, value in start.items() if key in own and own[key].shape == value.shape}
        D.load_state_dict(own | known)
    D.to(world.device)
    augment = _build_augment(config, name, world)
    strength = None if augment is None else _build_strength(augment, config, world)
    interval = config.loss.r1_interval if config.loss.r1_gamma > 0 else 0
    optimizer = lazy_adam(D.trainable_parameters(), config.optimizer_d, interval, config.run, world.device)
    logits_once = first_order(D.forward, D, config.run)
    pl_mean = torch.zeros([], device=world.device)
    return Stream(name, index, D, logits_once, optimizer, augment, strength, pl_mean)


def _build_augment(config: TrainConfig, name: str, world: World) -> AugmentPipe | None:
    if config.augment.mode == "none":
        return None
    pipe = config.augment.pipe_degraded if name == "degraded" else None
    augment = AugmentPipe(config.augment.overrides or PIPES[pipe or config.augment.pipe]).to(world.device)
    augment.p.fill_(config.augment.p)
    return augment


def _build_strength(augment: AugmentPipe, config: TrainConfig, world: World) -> AdaptiveStrength | None:
    if config.augment.mode != "ada":
        return None
    return AdaptiveStrength(
        augment.p,
        config.augment.target,
        config.batch,
        interval=config.augment.interval,
        kimg=config.augment.kimg,
        reduce=world.sum,
    )
