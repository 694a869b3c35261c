"""Named configurations. The three of the paper carry the values of its supplement's Table 1."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from dnnlib.config import require
from dnnlib.errors import unknown_name
from networks.config import (
    CrepsConfig,
    DiscriminatorConfig,
    Dtype,
    GeneratorConfig,
    MappingConfig,
    PrecisionConfig,
    QualityConfig,
)
from training.config import AugmentConfig, EmaConfig, LossConfig, OptimizerConfig, RunConfig, TrainConfig

Mode = Literal["base", "qc"]

# Sides of the images that presets are for, in pixels; the others are for any.
RESOLUTIONS = {"paper256": 256, "paper512": 512, "church256": 256, "stylegan2": 1024, "cifar": 32}
RESOLUTIONS |= {"creps128": 128, "creps512": 512, "creps1024": 1024}
PAPER_KIMG = 5000.0  # "training length" of the QC-StyleGAN paper; its base networks are StyleGAN2-ADA's, of 25000
PAPER_BATCH_GPU = 8  # 64 images on 8 GPUs of 40 GB

FOR_ANY_SIDE = ("auto", "demo")
# Largest side of images for which these train the DegradBlocks alone. Teachers of this size are rarely converged, and
# the last blocks drift from them (docs/degradblock.md).
BLOCKS_ALONE_SIDE = 128
TRANSFER_AUGMENT_KIMG = 100.0  # augment.kimg of runs that start from a network

# For each ablation of the supplement's Table 4, what it changes.
ABLATIONS: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "A": lambda config: dataclasses.replace(_without_distillation(config), train_all=True),
    "B": lambda config: _without_distillation(config),
    "C": lambda config: with_quality(config, blocks=1),
    "D": lambda config: with_quality(config, depth=5),
    "E": lambda config: with_quality(config, q_dim=8, channels=64),
    "F": lambda config: with_quality(config, variant="adain"),
}


def build(name: str, resolution: int, batch: int | None = None, processes: int = 1, mode: Mode = "base") -> TrainConfig:
    """Return the preset called `name` for square images of `resolution` pixels.

    `mode` decides how long the paper's presets train: a base network, or a QC one from it; `as_qc` makes the latter.

    `batch` and the number of processes matter to those that derive their values from them (`auto`); None lets the
    preset choose.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    require(batch is None or batch >= 1, "batch", batch, "at least 1")
    config = PRESETS[name](resolution, batch, processes)
    if mode == "qc" and name in PAPER:
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, kimg=PAPER_KIMG))
    return config if batch is None else dataclasses.replace(config, batch=batch)


def unsuitable(name: str, resolution: int) -> str | None:
    """Return a sentence about a preset that is for images of another side; None where it is for these, or for any."""
    side = RESOLUTIONS.get(name, resolution)
    if side == resolution:
        return None
    return (
        f"--preset={name} is for images of {side}x{side} and the data has {resolution}x{resolution}, for which its "
        "values, such as the weight of R1, are not meant; --preset=auto derives them from the data"
    )


def with_precision(config: TrainConfig, dtype: Dtype) -> TrainConfig:
    """Return `config` with the mixed precision of its networks in `dtype`; what is all float32 stays so."""
    parts = {}
    for name in ("generator", "discriminator"):
        part = getattr(config, name)
        if part.precision.dtype != "fp32":
            parts[name] = dataclasses.replace(part, precision=dataclasses.replace(part.precision, dtype=dtype))
    return dataclasses.replace(config, **parts)


def as_transfer(config: TrainConfig) -> TrainConfig:
    """Return `config` for a run that starts from a network (ADA's rule of transfer learning).

    The moving average follows no ramp-up, which would forget the network within its first images, and the strength of
    augmentation adapts quickly.
    """
    return dataclasses.replace(
        config,
        ema=dataclasses.replace(config.ema, rampup=None),
        augment=dataclasses.replace(config.augment, kimg=min(config.augment.kimg, TRANSFER_AUGMENT_KIMG)),
    )


def as_creps(config: TrainConfig) -> TrainConfig:
    """Return `config` for a CREPS generator: twice the feature maps, a slower `w_avg`, no style mixing (CREPS, 1.1).

    The discriminator is StyleGAN2's, and stays as it is; a configuration of such a generator does too.
    """
    generator = config.generator
    if generator.kind == "creps":
        return config
    generator = dataclasses.replace(
        generator,
        kind="creps",
        creps=CrepsConfig(),
        channel_base=2 * generator.channel_base,
        channel_max=2 * generator.channel_max,
        mapping=dataclasses.replace(generator.mapping, w_avg_beta=0.998),
    )
    loss = dataclasses.replace(config.loss, style_mixing_prob=0.0)
    return dataclasses.replace(config, generator=generator, loss=loss)


def as_qc(config: TrainConfig, init_from: str, generator: GeneratorConfig) -> TrainConfig:
    """Return the quality-controllable training of a base network, or of a QC one, whose generator is known."""
    quality = generator.quality or config.generator.quality or QualityConfig()
    precision = config.generator.precision
    generator = dataclasses.replace(generator, quality=quality, precision=precision)
    return dataclasses.replace(config, mode="qc", init_from=init_from, generator=generator)


def with_blocks_alone(config: TrainConfig) -> TrainConfig:
    """Return `config` with the part of a QC network that presets for any side train.

    That is the DegradBlocks of small images, where they can be trained alone and nothing is set for the other blocks.
    """
    quality, side = config.generator.quality, config.data.resolution
    assert quality is not None and side is not None, "the network and the data are known"
    has_own_layers = quality.injection == "degrad_block" and quality.variant != "released"
    alone = side <= BLOCKS_ALONE_SIDE and has_own_layers and not config.train_all
    return dataclasses.replace(config, train_degrad_only=alone)


def _preset(
    channel_base: int,
    batch: int,
    gamma: float,
    mbstd: int | None = 4,
    lr: float = 0.0025,
    mapping_layers: int = 8,
    ema: EmaConfig | None = None,
    dtype: Dtype = "fp16",
    **changes: Any,
) -> TrainConfig:
    precision = PrecisionConfig(dtype=dtype)
    return TrainConfig(
        batch=batch,
        generator=GeneratorConfig(
            channel_base=channel_base, mapping=MappingConfig(num_layers=mapping_layers), precision=precision
        ),
        discriminator=DiscriminatorConfig(channel_base=channel_base, mbstd_group_size=mbstd, precision=precision),
        optimizer_g=OptimizerConfig(lr=lr),
        optimizer_d=OptimizerConfig(lr=lr),
        loss=LossConfig(r1_gamma=gamma),
        ema=ema or EmaConfig(),
        **changes,
    )


def _auto(resolution: int, batch: int | None, processes: int) -> TrainConfig:
    """Values that are known to be sound at any resolution (ADA, appendix C: gamma grows with the image's area)."""
    batch = batch or max(min(processes * min(4096 // resolution, 32), 64), processes, 8)
    return _preset(
        channel_base=16384 if resolution < 512 else 32768,
        batch=batch,
        gamma=0.0002 * resolution**2 / batch,
        mbstd=max(1, min(4, batch // processes)),
        lr=0.002 if resolution >= 1024 else 0.0025,
        mapping_layers=2,
        ema=EmaConfig(kimg=batch * 10 / 32),
    )


def _paper(channel_base: int, gamma: float) -> Callable[[int, int | None, int], TrainConfig]:
    """One column of the supplement's Table 1."""
    ema = EmaConfig(kimg=20, rampup=None)

    def preset(resolution: int, batch: int | None, processes: int) -> TrainConfig:
        run = RunConfig(batch_gpu=_at_once(batch or 64, processes))
        return _preset(channel_base, 64, gamma, mbstd=8, ema=ema, run=run)

    return preset


def _at_once(batch: int, processes: int) -> int | None:
    """Return how many images a process handles at once: the most that divide its share and fit the paper's GPUs."""
    share = batch // processes
    return max((n for n in range(1, PAPER_BATCH_GPU + 1) if n <= share and share % n == 0), default=None)


def _stylegan2(resolution: int, batch: int | None, processes: int) -> TrainConfig:
    """Config F of the StyleGAN2 paper."""
    return _preset(
        32768, 32, 10, lr=0.002, ema=EmaConfig(kimg=10, rampup=None), augment=AugmentConfig(mode="none"), dtype="fp32"
    )


def _cifar(resolution: int, batch: int | None, processes: int) -> TrainConfig:
    """CIFAR-10 of the ADA paper (appendix C): no path lengths, no mixing, wide networks, a plain discriminator.

    There the generator's Adam is that of lazy path lengths, although their weight is zero, so that it is set here.
    """
    run = RunConfig(kimg=100_000)
    config = _preset(
        32768, 64, 0.01, mbstd=32, mapping_layers=2, ema=EmaConfig(kimg=500), augment=AugmentConfig(kimg=100), run=run
    )
    adam, lazy = config.optimizer_g, config.loss.pl_interval / (config.loss.pl_interval + 1)
    return dataclasses.replace(
        config,
        optimizer_g=dataclasses.replace(adam, lr=adam.lr * lazy, beta2=adam.beta2**lazy),
        loss=dataclasses.replace(config.loss, pl_weight=0.0, style_mixing_prob=0.0),
        discriminator=dataclasses.replace(config.discriminator, architecture="orig"),
    )


def _creps(batch_size: int, gamma: float) -> Callable[[int, int | None, int], TrainConfig]:
    """The CREPS paper's for one resolution (its supplement, 1.3)."""

    def preset(resolution: int, batch: int | None, processes: int) -> TrainConfig:
        ema = EmaConfig(kimg=(batch or batch_size) * 10 / 32)
        return as_creps(_preset(32768, batch_size, gamma, lr=0.002, ema=ema))

    return preset


def _demo(resolution: int, batch: int | None, processes: int) -> TrainConfig:
    """Networks so small that a laptop's CPU shows results within minutes."""
    run = RunConfig(kimg=18, kimg_per_tick=1, workers=1)
    config = _preset(1024, 8, 0.05, lr=0.003, mapping_layers=2, ema=EmaConfig(kimg=1), run=run)
    return dataclasses.replace(
        config,
        generator=dataclasses.replace(config.generator, z_dim=64, w_dim=64, channel_max=64),
        discriminator=dataclasses.replace(config.discriminator, channel_max=64, mapping_layers=2),
        loss=dataclasses.replace(config.loss, pl_weight=0.0),
        augment=AugmentConfig(kimg=50),
    )


PAPER = ("paper256", "paper512", "church256")
PRESETS: dict[str, Callable[[int, int | None, int], TrainConfig]] = {
    "auto": _auto,
    "paper256": _paper(channel_base=16384, gamma=1.0),  # FFHQ: half the feature maps
    "paper512": _paper(channel_base=32768, gamma=0.5),  # AFHQ-Cat
    "church256": _paper(channel_base=32768, gamma=100.0),  # LSUN-Church
    "stylegan2": _stylegan2,
    "cifar": _cifar,
    "creps128": _creps(batch_size=128, gamma=0.5),
    "creps512": _creps(batch_size=32, gamma=10.0),
    "creps1024": _creps(batch_size=8, gamma=32.0),
    "demo": _demo,
}


def _without_distillation(config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(config, loss=dataclasses.replace(config.loss, distill_weight=0.0))


def with_quality(config: TrainConfig, **changes: Any) -> TrainConfig:
    """Return `config` with some fields of its DegradBlocks changed."""
    quality = dataclasses.replace(config.generator.quality or QualityConfig(), **changes)
    return dataclasses.replace(config, generator=dataclasses.replace(config.generator, quality=quality))
