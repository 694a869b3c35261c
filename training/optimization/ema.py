"""The moving average of weights: of generators (G_ema), and of encoders."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from training.config import EmaConfig


class Averaged(Protocol):
    """A module whose weights are averaged."""

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training changes, by name."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return all parameters with their names."""
        ...

    def buffers(self) -> Iterator[Tensor]:
        """Return all buffers."""
        ...


def ema_decay(config: EmaConfig, batch: int, images_seen: int) -> float:
    """Return the share of the average that stays after a step of `batch` images."""
    half_life = config.kimg * 1000
    if config.rampup is not None:
        half_life = min(half_life, images_seen * config.rampup)
    return 0.5 ** (batch / max(half_life, 1e-8))


@torch.no_grad()
def update_ema(average: Averaged, network: Averaged, decay: float) -> None:
    """Move the trained weights of `average` towards those of `network`, and copy the buffers."""
    names = list(network.trainable_parameters())
    averages = dict(average.named_parameters())
    weights = dict(network.named_parameters())
    torch._foreach_lerp_([averages[name] for name in names], [weights[name] for name in names], 1 - decay)
    torch._foreach_copy_(list(average.buffers()), list(network.buffers()))
