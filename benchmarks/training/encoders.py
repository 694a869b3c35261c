"""How long a step of an encoder's training takes: of all of it, and of its network for q alone; in fp32 and bf16.

python -m benchmarks.training.encoders --network=cats64 --data=afhqcat64-train.zip [--batch=16 --repeats=5]
"""

import json

import click
import torch

from benchmarks.machine import describe, now, prepare
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from dnnlib.remote.locations import NetworkFile
from images.datasets.batches import TrainingBatches
from inversion.commands.encoder_config import resolve
from inversion.encoders.pairs import open_photos
from inversion.encoders.trainer import EncoderTrainer
from inversion.encoders.training import open_generator
from metrics.weights.directory import WeightsDirectory
from torch_utils.distributed import best_device

PRECISIONS = ("fp32", "bf16")
# What is trained, and the flags that say so besides those of the benchmark.
TRAININGS = {"the whole encoder": {}, "the network for q alone": {"quality_only": True}}


@click.command(context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="QC network with an encoder beside it.")
@click.option("--data", type=PATH, required=True, help="Folder or zip of photos.")
@click.option("--batch", default=16, help="Images in a step.")
@click.option("--repeats", type=click.IntRange(1), default=5, help="Steps, of which the fastest counts.")
@click.option("--device", default=None, help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(network: str, data: str, batch: int, repeats: int, device: str | None, json_path: str | None) -> None:
    """Print the seconds of a step of each training in each precision, taken in turns."""
    chosen = best_device(device)
    prepare(chosen)
    click.echo(f"{describe(chosen)}; {network}, batch {batch}")
    found = {what: _fastest(network, data, batch, repeats, chosen, what) for what in TRAININGS}
    for what, times in found.items():
        click.echo(
            f"{what:24} fp32 {times['fp32']:.3f} s, bf16 {times['bf16']:.3f}: {times['bf16'] / times['fp32']:.2f}"
        )
    if json_path is not None:
        with open(json_path, "w") as file:
            json.dump(found, file)


def _fastest(network: str, data: str, batch: int, repeats: int, device: torch.device, what: str) -> dict[str, float]:
    """Return the seconds of the fastest step in each precision."""
    trainers = {precision: _trainer(network, data, batch, device, what, precision) for precision in PRECISIONS}
    config = trainers["fp32"].config
    batches = TrainingBatches(open_photos(config, trainers["fp32"].G), config.photos, slice(config.photos), config.seed)
    photos = next(iter(batches))
    fastest = dict.fromkeys(PRECISIONS, float("inf"))
    for _ in range(1 + repeats):  # the first ones warm up, and are no faster
        for precision, trainer in trainers.items():
            start = now(device)
            trainer.step(photos)
            fastest[precision] = min(fastest[precision], now(device) - start)
    return fastest


def _trainer(network: str, data: str, batch: int, device: torch.device, what: str, precision: str) -> EncoderTrainer:
    """Return what trains an encoder of the default kind and a ResNet-34 of a quarter of the width."""
    flags = {"data": data, "batch": batch, "device": str(device), "precision": precision, **TRAININGS[what]}
    if not flags.get("quality_only"):
        flags |= {"backbone": "resnet34", "width": 0.25}
    config = resolve(network, [], **flags)
    G, _ = open_generator(config, device)
    return EncoderTrainer(config, G, WeightsDirectory.find(None))


if __name__ == "__main__":
    main()
