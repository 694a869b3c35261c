"""Configurations of the steps that are measured: small networks or a preset's, in both modes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from networks.config import Dtype, MappingConfig
from networks.files import ImageFormat, save_network
from torch_utils.distributed import World
from training import presets
from training.config import AugmentConfig, TrainConfig
from training.trainer import Trainer

Precision = Dtype | Literal["tf32"]


def step_config(
    resolution: int,
    precision: Precision,
    preset: str | None,
    batch: int,
    channel_base: int | None,
    channel_max: int | None,
    mapping_layers: int | None,
    aug: Literal["none", "ada"],
) -> TrainConfig:
    """Return the configuration in mode base; without a preset, that of small networks."""
    config = presets.build(preset or "stylegan2", resolution, batch)
    G, D = config.generator, config.discriminator
    layers = mapping_layers or (G.mapping.num_layers if preset else 2)
    dtype: Dtype = "fp32" if precision == "tf32" else precision
    mixed = dataclasses.replace(G.precision, dtype=dtype)
    return dataclasses.replace(
        config,
        generator=dataclasses.replace(
            G,
            mapping=MappingConfig(num_layers=layers),
            channel_base=channel_base or (G.channel_base if preset else 8192),
            channel_max=channel_max or (G.channel_max if preset else 256),
            precision=mixed,
        ),
        discriminator=dataclasses.replace(
            D,
            channel_base=channel_base or (D.channel_base if preset else 8192),
            channel_max=channel_max or (D.channel_max if preset else 256),
            precision=mixed,
        ),
        augment=AugmentConfig(mode=aug),
        run=dataclasses.replace(config.run, batch_gpu=None, tf32=precision != "fp32"),
    )


def by_mode(
    config: TrainConfig,
    images: ImageFormat,
    modes: Sequence[str],
    variants: Sequence[str],
    folder: Path,
    device: torch.device,
) -> dict[str, TrainConfig]:
    """Return the configurations by mode: base, and qc with each variant, which starts from a network in `folder`."""
    found = {"base": config} if "base" in modes else {}
    if "qc" in modes:
        network = str(folder / "base.safetensors")
        trainer = Trainer(config, images, World(0, 1, device))
        save_network(network, trainer.G_ema, {"sharp": trainer.streams[0].D}, {})
        qc = presets.as_qc(config, network, config.generator)
        found |= {f"qc, {name} block": presets.with_quality(qc, variant=name) for name in variants}
    return found
