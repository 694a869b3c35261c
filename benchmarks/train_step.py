"""Time a training step, phase by phase, in both modes.

python -m benchmarks.train_step [--resolution 64 --channel-base 8192 --channel-max 256 --batch 8] [--textbook]
python -m benchmarks.train_step --preset paper256 --resolution 256 --batch 32 --plain --compiled
"""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import torch

from benchmarks.machine import Operations, convolution_rate, describe, prepare, seconds
from benchmarks.textbook import TextbookTrainer, arranged_as_usual
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from images.datasets.batches import Batch
from networks.config import Dtype, MappingConfig
from networks.files import ImageFormat, save_network
from networks.resolutions import DTYPES
from torch_utils.cuda import operators
from torch_utils.distributed import World, best_device
from torch_utils.memory import peak_memory
from training import presets
from training.config import AugmentConfig, TrainConfig
from training.loop import allow_tf32
from training.trainer import Trainer

Precision = Dtype | Literal["tf32"]
PRECISIONS = ["fp32", "tf32", "bf16", "fp16"]
DEFAULT: tuple[Precision, ...] = ("fp32", "bf16")
DEFAULT_ON_CUDA: tuple[Precision, ...] = ("fp32", "tf32", "bf16")


@click.command(context_settings=SETTINGS)
@click.option(
    "--preset", type=click.Choice(list(presets.PRESETS)), help="Preset of networks and losses, apart from other flags."
)
@click.option("--resolution", default=64, help="Side of the images.")
@click.option(
    "--channel-base", type=int, help="Factor of the channels at each resolution.  [default: 8192, or preset's]"
)
@click.option("--channel-max", type=int, help="Largest number of channels.  [default: 256, or the preset's]")
@click.option("--mapping-layers", type=int, help="Number of mapping layers.  [default: 2, or the preset's]")
@click.option("--batch", default=8, help="Number of images in a step.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Precision, may be repeated; tf32 is float32 with TensorFloat-32 on a GPU, which the 16-bit ones use, too.  "
    "[default: fp32, bf16, on a GPU also tf32]",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    default=["released", "paper"],
    help="Variant of the DegradBlock, may be repeated.",
)
@click.option(
    "--aug",
    type=click.Choice(["none", "ada"]),
    default="none",
    help="Augmentation of the images that the discriminators see.",
)
@click.option("--textbook", is_flag=True, help="Also time the step as it is usually arranged.")
@click.option("--plain", is_flag=True, help="Also time the step without CUDA kernels of our own.")
@click.option("--compiled", is_flag=True, help="Also time the step with run.compile.")
@click.option("--repeats", default=3, help="Number of calls that are timed.")
@click.option("--device", default=None, help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(
    preset: str | None,
    resolution: int,
    channel_base: int | None,
    channel_max: int | None,
    mapping_layers: int | None,
    batch: int,
    precisions: tuple[Precision, ...],
    variants: tuple[str, ...],
    aug: Literal["none", "ada"],
    textbook: bool,
    plain: bool,
    compiled: bool,
    repeats: int,
    device: str | None,
    json_path: str | None,
) -> None:
    """Print seconds for each phase and for an average step, and how much faster ours is than other arrangements."""
    chosen = best_device(device)
    prepare(chosen)
    images = ImageFormat(resolution, 3, 0)
    others = [name for name, flag in (("textbook", textbook), ("plain", plain), ("compiled", compiled)) if flag]
    records: list[dict[str, Any]] = []
    for precision in precisions or (DEFAULT_ON_CUDA if chosen.type == "cuda" else DEFAULT):
        config = _config(resolution, precision, preset, batch, channel_base, channel_max, mapping_layers, aug)
        allow_tf32(config)
        if not records:
            click.echo(f"{describe(chosen)}; {resolution}x{resolution}, {_networks(config)}, batch {config.batch}")
        rate = convolution_rate(chosen, DTYPES[config.generator.precision.dtype])
        click.echo(f"\n{precision}: a large convolution runs at {rate / 1e9:.0f} GFLOP/s")
        with tempfile.TemporaryDirectory() as folder:
            for mode, mode_config in _modes(config, images, variants, Path(folder), chosen).items():
                records.append({"precision": precision, "mode": mode})
                for numbers in _compare(mode, mode_config, images, chosen, rate, others, repeats):
                    records[-1] |= numbers
                    if json_path:  # each time, since the next may take too much memory or time
                        report = {"machine": describe(chosen), "resolution": resolution, "batch": config.batch}
                        Path(json_path).write_text(json.dumps(report | {"records": records}, indent=2))


def _modes(
    config: TrainConfig, images: ImageFormat, variants: Sequence[str], folder: Path, device: torch.device
) -> dict[str, TrainConfig]:
    """Return the configurations by mode: base, and qc with each variant, which starts from a network in `folder`."""
    network = str(folder / "base.safetensors")
    trainer = Trainer(config, images, World(0, 1, device))
    save_network(network, trainer.G_ema, {"sharp": trainer.streams[0].D}, {})
    modes = {"base": config}
    for name in variants:
        qc = presets.as_qc(config, network, config.generator)
        modes[f"qc, {name} block"] = presets.with_quality(qc, variant=name)
    return modes


def _config(
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
        run=dataclasses.replace(config.run, tf32=precision != "fp32"),
    )


def _networks(config: TrainConfig) -> str:
    return f"channels {config.generator.channel_base}/{config.generator.channel_max}"


def _compare(
    mode: str,
    config: TrainConfig,
    images: ImageFormat,
    device: torch.device,
    rate: float,
    others: Sequence[str],
    repeats: int,
) -> Iterator[dict[str, Any]]:
    """Measure our step, then the other arrangements of it; yield what is added to the record each time."""
    world = World(0, 1, device)
    ours = _measure(mode, Trainer(config, images, world), rate, repeats)
    yield ours
    arrangements: dict[str, tuple[Callable[[], AbstractContextManager[Any]], type[Trainer], TrainConfig]] = {
        "textbook": (arranged_as_usual, TextbookTrainer, config),
        "plain": (operators.disabled, Trainer, config),
        "compiled": (contextlib.nullcontext, Trainer, _with_compile(config)),
    }
    for name in others:
        context, kind, other_config = arrangements[name]
        with context():
            numbers = _measure(f"{mode}, {name}", kind(other_config, images, world), rate, repeats)
        click.echo(f"{mode}: {numbers['seconds'] / ours['seconds']:.2f} times the time of ours when {name}")
        yield {name: numbers}


def _with_compile(config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(config, run=dataclasses.replace(config.run, compile=True))


def _phases(trainer: Trainer) -> dict[str, tuple[Callable[[], object], int]]:
    """Return each phase of the step on random images, and how many steps it runs once in, by name."""
    loss, batch = trainer.config.loss, trainer.config.batch
    images = torch.randint(0, 256, (batch, 3, trainer.images.resolution, trainer.images.resolution), dtype=torch.uint8)
    rounds = list(trainer._rounds(Batch(images, images, torch.zeros(batch, 0))))
    fakes = [trainer.make_fakes(round_) for round_ in rounds]
    phases: dict[str, tuple[Callable[[], object], int]] = {
        "G": (lambda: trainer.train_generator(rounds), 1),
        "G_reg": (lambda: trainer.regularize_generator(rounds), loss.pl_interval),
        "fakes": (lambda: [trainer.make_fakes(round_) for round_ in rounds], 1),
    }
    for stream in trainer.streams:
        name = f"D_{stream.name}"
        phases[name] = partial(trainer.train_discriminator, stream, rounds, fakes), 1
        phases[f"{name}_reg"] = partial(trainer.regularize_discriminator, stream, rounds), loss.r1_interval
    return phases


def _measure(title: str, trainer: Trainer, rate: float, repeats: int) -> dict[str, Any]:
    """Time every phase, and add them up as often as each runs."""
    batch, device = trainer.config.batch, trainer.world.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    phases = _phases(trainer)
    click.echo(f"\n{title}\n{'phase':<16}{'seconds':>9}{'every':>7}{'GFLOP':>9}{'of conv rate':>14}")
    total = total_operations = 0.0
    times = {}
    for name, (function, interval) in phases.items():
        operations = _operations(function)
        times[name] = time = seconds(function, device, repeats)
        total += time / interval
        total_operations += operations / interval
        click.echo(f"{name:<16}{time:>9.4f}{interval:>7}{operations / 1e9:>9.0f}{operations / time / rate:>13.0%}")
    share = total_operations / total / rate
    memory = peak_memory(device) / 2**30
    click.echo(
        f"{'average step':<16}{total:>9.4f}{'':>7}{total_operations / 1e9:>9.0f}{share:>13.0%}"
        f"   {batch / total:.1f} images/s, the arithmetic alone {total_operations / rate:.2f} s, {memory:.2f} GB"
    )
    numbers = {"gflop": total_operations / 1e9, "share": share, "peak_memory_gb": memory, "phases": times}
    return {"seconds": total, "images_per_second": batch / total} | numbers


def _operations(function: Callable[[], object]) -> int:
    """Return the number of operations of a phase; a compiled one is counted in its eager form, as counters require."""
    with Operations() as operations, torch.compiler.set_stance("force_eager"):
        function()
    return operations.count


if __name__ == "__main__":
    main()
