"""Adam for lazily regularised networks."""

from typing import Any

import torch
from torch import nn

from training.config import OptimizerConfig, RunConfig


def lazy_adam(
    parameters: dict[str, nn.Parameter], config: OptimizerConfig, interval: int, run: RunConfig, device: torch.device
) -> torch.optim.Adam:
    """Return Adam for a network that is regularised every `interval` steps (0: never).

    Each interval then has one step more, so each step counts for less (StyleGAN2, appendix B).
    """
    ratio = interval / (interval + 1) if interval else 1.0
    return torch.optim.Adam(
        list(parameters.values()),
        lr=config.lr * ratio,
        betas=(config.beta1**ratio, config.beta2**ratio),
        eps=config.eps,
        fused=run.fused_optimizer,
        capturable=run.cuda_graphs == "phases" and device.type == "cuda",
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take up a saved state; how steps are taken, and so where they are counted, stays this run's own choice."""
    pairs = zip(optimizer.param_groups, state["param_groups"], strict=True)
    groups = [saved | {name: own[name] for name in ("fused", "capturable")} for own, saved in pairs]
    optimizer.load_state_dict(state | {"param_groups": groups})
