"""Time a training step, phase by phase, in both modes.

python -m benchmarks.train_step [--resolution 64 --channel-base 8192 --channel-max 256 --batch 8] [--textbook]
python -m benchmarks.train_step --preset paper256 --resolution 256 --batch 32 --plain --compiled
"""

import contextlib
import dataclasses
import json
import tempfile
from functools import partial
from pathlib import Path

import click
import torch

from benchmarks.machine import Operations, convolution_rate, describe, prepare, seconds
from benchmarks.textbook import TextbookTrainer, arranged_as_usual
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import SETTINGS
from images.datasets.batches import Batch
from networks.config import MappingConfig
from networks.files import ImageFormat, save_network
from networks.resolutions import DTYPES
from torch_utils.cuda import operators
from torch_utils.distributed import World, best_device
from torch_utils.memory import peak_memory
from training import presets
from training.config import AugmentConfig, TrainConfig
from training.loop import allow_tf32
from training.trainer import Trainer

PRECISIONS = ["fp32", "tf32", "bf16", "fp16"]


@click.command(context_settings=SETTINGS)
@click.option("--preset", type=click.Choice(list(presets.PRESETS)), help="Networks and losses of a run, but for flags.")
@click.option("--resolution", default=64)
@click.option("--channel-base", type=int, help="[default: 8192, or the preset's]")
@click.option("--channel-max", type=int, help="[default: 256, or the preset's]")
@click.option("--mapping-layers", type=int, help="[default: 2, or the preset's]")
@click.option("--batch", default=8)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="tf32: of float32 networks on a GPU; beside the others it is on.  [default: fp32, bf16, on a GPU also tf32]",
)
@click.option("--variant", "variants", multiple=True, default=["released", "paper"], help="Of the DegradBlock.")
@click.option("--aug", type=click.Choice(["none", "ada"]), default="none", help="Of what the discriminators see.")
@click.option("--textbook", is_flag=True, help="Also the step as it is usually arranged.")
@click.option("--plain", is_flag=True, help="Also without CUDA kernels of our own.")
@click.option("--compiled", is_flag=True, help="Also with run.compile.")
@click.option("--repeats", default=3)
@click.option("--device", default=None)
@click.option("--json", "json_path", default=None, help="Also write the numbers to this file.")
@one_sentence_errors
def main(precisions, variants, textbook, plain, compiled, repeats, device, json_path, resolution, **flags):
    """Print seconds for each phase and for an average step, and how much faster ours is than other arrangements."""
    device = best_device(device)
    prepare(device)
    images = ImageFormat(resolution, 3, 0)
    others = [name for name, wanted in (("textbook", textbook), ("plain", plain), ("compiled", compiled)) if wanted]
    measure = partial(_compare, images=images, device=device, others=others, repeats=repeats)
    records = []
    for precision in precisions or (["fp32", "tf32", "bf16"] if device.type == "cuda" else ["fp32", "bf16"]):
        config = _config(resolution, precision, **flags)
        allow_tf32(config)
        if not records:
            click.echo(f"{describe(device)}; {resolution}x{resolution}, {_networks(config)}, batch {config.batch}")
        rate = convolution_rate(device, DTYPES[config.generator.precision.dtype])
        click.echo(f"\n{precision}: a large convolution runs at {rate / 1e9:.0f} GFLOP/s")
        with tempfile.TemporaryDirectory() as folder:
            network = str(Path(folder) / "base.safetensors")
            trainer = Trainer(config, images, World(0, 1, device))
            save_network(network, trainer.G_ema, {"sharp": trainer.streams[0].D}, {})
            del trainer
            modes = {"base": config}
            for name in variants:
                qc = presets.as_qc(config, network, config.generator)
                modes[f"qc, {name} block"] = presets.with_quality(qc, variant=name)
            for mode, config in modes.items():
                records.append({"precision": precision, "mode": mode})
                for numbers in measure(mode, config, rate=rate):
                    records[-1] |= numbers
                    if json_path:  # each time, since the next may take too much memory or time
                        report = {"machine": describe(device), "resolution": resolution, "batch": config.batch}
                        Path(json_path).write_text(json.dumps(report | {"records": records}, indent=2))


def _config(resolution, precision, preset, batch, channel_base, channel_max, mapping_layers, aug) -> TrainConfig:
    """Return the configuration in mode base; without a preset, that of small networks."""
    config = presets.build(preset or "stylegan2", resolution, batch)
    widths = {"channel_base": channel_base or (None if preset else 8192)}
    widths["channel_max"] = channel_max or (None if preset else 256)
    widths = {name: value for name, value in widths.items() if value is not None}
    layers = mapping_layers or (config.generator.mapping.num_layers if preset else 2)
    dtype = "fp32" if precision == "tf32" else precision
    mixed = {"precision": dataclasses.replace(config.generator.precision, dtype=dtype)}
    return dataclasses.replace(
        config,
        generator=dataclasses.replace(config.generator, mapping=MappingConfig(num_layers=layers), **widths, **mixed),
        discriminator=dataclasses.replace(config.discriminator, **widths, **mixed),
        augment=AugmentConfig(mode=aug),
        run=dataclasses.replace(config.run, tf32=precision != "fp32"),
    )


def _networks(config):
    return f"channels {config.generator.channel_base}/{config.generator.channel_max}"


def _compare(mode, config, images, device, rate, others, repeats):
    """Measure our step, then the other arrangements of it; yield what is added to the record each time."""
    world, measure = World(0, 1, device), partial(_measure, rate=rate, repeats=repeats)
    ours = measure(mode, Trainer(config, images, world))
    yield ours
    arrangements = {
        "textbook": (arranged_as_usual, TextbookTrainer, config),
        "plain": (operators.disabled, Trainer, config),
        "compiled": (contextlib.nullcontext, Trainer, _compiled(config)),
    }
    for name in others:
        context, kind, other_config = arrangements[name]
        with context():
            numbers = measure(f"{mode}, {name}", kind(other_config, images, world))
        click.echo(f"{mode}: {numbers['seconds'] / ours['seconds']:.2f} times the time of ours when {name}")
        yield {name: numbers}


def _compiled(config):
    return dataclasses.replace(config, run=dataclasses.replace(config.run, compile=True))


def _measure(title, trainer, rate, repeats):
    """Time every phase, and add them up as often as each runs."""
    loss, batch, device = trainer.config.loss, trainer.config.batch, trainer.world.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    images = torch.randint(0, 256, (batch, 3, trainer.images.resolution, trainer.images.resolution), dtype=torch.uint8)
    rounds = list(trainer._rounds(Batch(images, images, torch.zeros(batch, 0))))
    fakes = [trainer.make_fakes(round_) for round_ in rounds]
    phases = {
        "G": (lambda: trainer.train_generator(rounds), 1),
        "G_reg": (lambda: trainer.regularize_generator(rounds), loss.pl_interval),
        "fakes": (lambda: [trainer.make_fakes(round_) for round_ in rounds], 1),
    }
    for stream in trainer.streams:
        name = f"D_{stream.name}"
        phases[name] = partial(trainer.train_discriminator, stream, rounds, fakes), 1
        phases[f"{name}_reg"] = partial(trainer.regularize_discriminator, stream, rounds), loss.r1_interval
    click.echo(f"\n{title}\n{'phase':<16}{'seconds':>9}{'every':>7}{'GFLOP':>9}{'of conv rate':>14}")
    total = total_operations = 0.0
    times = {}
    for name, (function, interval) in phases.items():
        operations = _operations(function)
        times[name] = time = seconds(function, device, repeats)
        total, total_operations = total + time / interval, total_operations + operations / interval
        click.echo(f"{name:<16}{time:>9.4f}{interval:>7}{operations / 1e9:>9.0f}{operations / time / rate:>13.0%}")
    share = total_operations / total / rate
    memory = peak_memory(device) / 2**30
    click.echo(
        f"{'average step':<16}{total:>9.4f}{'':>7}{total_operations / 1e9:>9.0f}{share:>13.0%}"
        f"   {batch / total:.1f} images/s, the arithmetic alone {total_operations / rate:.2f} s, {memory:.2f} GB"
    )
    numbers = {"gflop": total_operations / 1e9, "share": share, "peak_memory_gb": memory, "phases": times}
    return {"seconds": total, "images_per_second": batch / total} | numbers


def _operations(function):
    """Count the arithmetic of a phase; a compiled one has that of the eager one, and no counter may look into it."""
    with Operations() as operations, torch.compiler.set_stance("force_eager"):
        function()
    return operations.count


if __name__ == "__main__":
    main()
