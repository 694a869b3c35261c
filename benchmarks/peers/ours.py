"""Our side: the trainer's phases, without distillation, which the peer's side does not have either."""

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import prepare
from benchmarks.peers.theirs import Phases, serve
from benchmarks.training.configs import by_mode, step_config
from benchmarks.training.steps import phases
from networks.files import ImageFormat
from networks.generators.interface import Generator
from torch_utils.distributed import World
from training.config import TrainConfig
from training.trainer import Trainer


def phases_of(settings: dict[str, Any]) -> tuple[dict[str, Any], Phases]:
    """Return no facts, and the phases of a step; D makes the fakes and trains all discriminators."""
    device = torch.device("cpu")
    torch.set_num_threads(settings["threads"])
    prepare(device)
    images = ImageFormat(settings["resolution"], 3, 0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(_config(settings, images, Path(folder)), images, World(0, 1, device))
    single = phases(trainer)
    discriminators = [single[name] for name in single if name.startswith("D_") and not name.endswith("_reg")]
    penalties = [single[name] for name in single if name.startswith("D_") and name.endswith("_reg")]
    found: Phases = {
        "G": single["G"],
        "G_reg": single["G_reg"],
        "D": lambda: [phase() for phase in (single["fakes"], *discriminators)],
        "D_reg": lambda: [phase() for phase in penalties],
    }
    found |= {f"generate {count}": partial(_generate, trainer.G_ema, count) for count in settings["generate"]}
    return {}, found


def _config(settings: dict[str, Any], images: ImageFormat, folder: Path) -> TrainConfig:
    """Return the configuration of a base network, or with `quality` of a QC one; all of either is trained."""
    widths = settings["channel_base"], settings["channel_max"], settings["mapping_layers"]
    config = step_config(images.resolution, "fp32", None, settings["batch"], *widths, "none")
    mode = "qc" if settings["quality"] else "base"
    [config] = by_mode(config, images, [mode], [settings["variant"]], folder, torch.device("cpu")).values()
    return dataclasses.replace(
        config, train_all=settings["quality"], loss=dataclasses.replace(config.loss, distill_weight=0.0)
    )


@torch.no_grad()
def _generate(G: Generator, count: int) -> None:
    quality = {"q": torch.randn(count, G.q_dim)} if G.q_dim > 0 else {}
    G(torch.randn(count, G.z_dim), noise_mode="const", **quality)


if __name__ == "__main__":
    serve(phases_of)
