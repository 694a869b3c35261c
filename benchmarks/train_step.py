"""Time a training step, phase by phase, in both modes; and the generation of images.

python -m benchmarks.train_step [--textbook] [--resolution 64 --channel-base 8192 --channel-max 256 --batch 8]
"""

import dataclasses
import json
import tempfile
from functools import partial
from pathlib import Path

import click
import torch

from benchmarks.machine import Operations, convolution_rate, describe, seconds
from benchmarks.textbook import TextbookTrainer, arranged_as_usual
from torch_utils.distributed import World, best_device
from torch_utils.memory import keep_freed_memory, peak_memory
from training import presets
from training.config import AugmentConfig, MappingConfig, TrainConfig
from training.dataset import Batch
from training.networks import ImageFormat, save_network
from training.networks_stylegan2 import DTYPES
from training.trainer import Trainer


@click.command(context_settings={"show_default": True})
@click.option("--resolution", default=64)
@click.option("--channel-base", default=8192)
@click.option("--channel-max", default=256)
@click.option("--mapping-layers", default=2)
@click.option("--batch", default=8)
@click.option("--precision", multiple=True, type=click.Choice(["fp32", "bf16", "fp16"]), default=["fp32", "bf16"])
@click.option("--variant", "variants", multiple=True, default=["released", "paper"], help="Of the DegradBlock.")
@click.option("--aug", type=click.Choice(["none", "ada"]), default="none", help="Of what the discriminators see.")
@click.option("--textbook", is_flag=True, help="Also the step as it is usually arranged, and how much faster ours is.")
@click.option("--repeats", default=3)
@click.option("--device", default=None)
@click.option("--json", "json_path", default=None, help="Also write the numbers to this file.")
def main(
    resolution,
    channel_base,
    channel_max,
    mapping_layers,
    batch,
    precision,
    variants,
    aug,
    textbook,
    repeats,
    device,
    json_path,
):
    """Print seconds for each phase and for an average step."""
    device = best_device(device)
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_flush_denormal(True)
    click.echo(f"{describe(device)}; {resolution}x{resolution}, channels {channel_base}/{channel_max}, batch {batch}")
    images = ImageFormat(resolution, 3, 0)
    records = []
    for dtype in precision:
        rate = convolution_rate(device, DTYPES[dtype])
        click.echo(f"\n{dtype}: a large convolution runs at {rate / 1e9:.0f} GFLOP/s")
        config = _config(channel_base, channel_max, mapping_layers, batch, dtype, aug)
        measure = partial(_compare, images=images, device=device, rate=rate, repeats=repeats, textbook=textbook)
        base, record = measure("base", config)
        records.append(record | {"dtype": dtype})
        with tempfile.TemporaryDirectory() as folder:
            network = Path(folder) / "base.safetensors"
            save_network(network, base.G_ema, {"sharp": base.streams[0].D}, {})
            for name in variants:
                qc = presets.as_qc(config, str(network), config.generator)
                qc = presets.with_quality(qc, variant=name)
                trainer, record = measure(f"qc, {name} block", qc)
                records.append(record | {"dtype": dtype})
                _measure_generation(trainer.G_ema, repeats)
    click.echo(f"\npeak memory of the whole measurement: {peak_memory(device) / 2**30:.2f} GB")
    if json_path:
        Path(json_path).write_text(json.dumps({"machine": describe(device), "records": records}, indent=2))


def _config(channel_base, channel_max, mapping_layers, batch, dtype, aug) -> TrainConfig:
    config = presets.build("stylegan2", 64, batch)
    precision = dataclasses.replace(config.generator.precision, dtype=dtype)
    return dataclasses.replace(
        config,
        generator=dataclasses.replace(
            config.generator,
            channel_base=channel_base,
            channel_max=channel_max,
            mapping=MappingConfig(num_layers=mapping_layers),
            precision=precision,
        ),
        discriminator=dataclasses.replace(
            config.discriminator, channel_base=channel_base, channel_max=channel_max, precision=precision
        ),
        augment=AugmentConfig(mode=aug),
    )


def _compare(title, config, images, device, rate, repeats, textbook):
    """Measure our step, and if asked the textbook's; return our trainer and the record."""
    world = World(0, 1, device)
    trainer = Trainer(config, images, world)
    record = _measure(title, trainer, rate, repeats)
    if textbook:
        with arranged_as_usual():
            usual = _measure(f"{title}, textbook arrangement", TextbookTrainer(config, images, world), rate, repeats)
        record["textbook_seconds"] = usual["seconds"]
        click.echo(f"{title}: {usual['seconds'] / record['seconds']:.2f} times as fast as the textbook arrangement")
    return trainer, record


def _measure(title, trainer, rate, repeats):
    """Time every phase, and add them up as often as each runs."""
    loss, batch, device = trainer.config.loss, trainer.config.batch, trainer.world.device
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
    for name, (function, interval) in phases.items():
        with Operations() as operations:
            function()
        operations, time = operations.count, seconds(function, device, repeats)
        total, total_operations = total + time / interval, total_operations + operations / interval
        click.echo(f"{name:<16}{time:>9.3f}{interval:>7}{operations / 1e9:>9.0f}{operations / time / rate:>13.0%}")
    share = total_operations / total / rate
    click.echo(
        f"{'average step':<16}{total:>9.3f}{'':>7}{total_operations / 1e9:>9.0f}{share:>13.0%}"
        f"   {batch / total:.1f} images/s, the arithmetic alone {total_operations / rate:.2f} s, "
        f"{peak_memory(device) / 2**30:.2f} GB"
    )
    return {"mode": title, "seconds": total, "gflop": total_operations / 1e9, "share": share}


@torch.no_grad()
def _measure_generation(G, repeats):
    for count in (1, 8):
        z, q = torch.randn(count, G.z_dim), torch.randn(count, G.q_dim)
        device = next(G.parameters()).device
        z, q = z.to(device), q.to(device)
        sharp = seconds(lambda: G(z, noise_mode="const"), device, 3 * repeats)  # noqa: B023 - called at once
        degraded = seconds(lambda: G(z, q=q, noise_mode="const"), device, 3 * repeats)  # noqa: B023
        sharp, degraded = sharp / count * 1e3, degraded / count * 1e3
        click.echo(f"generate, batch {count}: {sharp:.1f} ms an image sharp, {degraded:.1f} degraded")


if __name__ == "__main__":
    main()
