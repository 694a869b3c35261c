"""The moving average of the generator's weights."""

import torch

from networks.generators.interface import Generator
from training.config import EmaConfig


def ema_decay(config: EmaConfig, batch: int, images_seen: int) -> float:
    """Return the share of the average that stays after a step of `batch` images."""
    half_life = config.kimg * 1000
    if config.rampup is not None:
        half_life = min(half_life, images_seen * config.rampup)
    return 0.5 ** (batch / max(half_life, 1e-8))


@torch.no_grad()
def update_ema(G_ema: Generator, G: Generator, decay: float) -> None:
    """Move the trained weights of `G_ema` towards those of `G`, and copy the buffers."""
    names = list(G.trainable_parameters())
    averages, weights = dict(G_ema.named_parameters()), dict(G.named_parameters())
    torch._foreach_lerp_([averages[name] for name in names], [weights[name] for name in names], 1 - decay)
    for average, value in zip(G_ema.buffers(), G.buffers(), strict=True):
        average.copy_(value)
