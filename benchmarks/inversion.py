"""Time the inversion of a photo (paper, Table 3), and how much of that each economy of pivotal tuning saves.

python -m benchmarks.inversion --network=pretrained/afhqcat64-qc.safetensors --data=afhqcat64-val.zip
"""

import copy
import dataclasses
import functools
import json
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe, now
from benchmarks.method.qc_network import load_qc
from dnnlib.cli import one_sentence_errors
from dnnlib.files import write_text
from dnnlib.flags import PATH, SETTINGS
from dnnlib.remote.locations import NetworkFile
from evaluation.job import prepare_device
from generation.rendering import synthesize
from generation.sampling import noise_of_seeds, ws_of_seeds
from images.datasets.dataset import ImageDataset
from images.ranges import from_levels
from inversion.encoders.files import load_encoder
from inversion.perceptual import Features, Perceptual, load_perceptual
from inversion.pivotal_tuning import tune
from inversion.projector import ProjectorOptions, project
from inversion.tuning_options import TuningOptions
from metrics.weights.directory import WeightsDirectory
from networks.files import with_precision
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory

BASELINE_STEPS = 500  # tuning steps of the plain baseline
HEADINGS = f"{'stage':<44}{'steps':>8}{'s/step':>10}{'s/photo':>10}{'of baseline':>13}"


@click.command(context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="QC network that photos are inverted into.")
@click.option(
    "--data",
    type=PATH,
    metavar="PATH",
    help="Folder or zip of photos, which are degraded.  [default: the network's own images]",
)
@click.option("--encoder", type=NetworkFile(), help="Encoder that is timed as well.")
@click.option("--photos", type=click.IntRange(min=1), default=4, help="Number of photos in one call.")
@click.option("--projector-steps", type=click.IntRange(min=1), help="Steps of the projector.  [default: all]")
@click.option("--tuning-steps", type=click.IntRange(min=1), help="Most steps of tuning, which may stop earlier.")
@click.option(
    "--measured-steps", type=click.IntRange(min=2), default=8, help="Steps of arrangements that never stop early."
)
@click.option("--device", help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("-o", "--json", "json_path", type=PATH, metavar="FILE", help="JSON file for the numbers.")
@one_sentence_errors
def main(
    network: str,
    data: str | None,
    encoder: str | None,
    photos: int,
    projector_steps: int | None,
    tuning_steps: int | None,
    measured_steps: int,
    device: str | None,
    json_path: str | None,
) -> None:
    """Print seconds a photo of encoder, projector and pivotal tuning, beside tuning as it is usually arranged."""
    chosen = best_device(device)
    prepare_device(chosen)
    if chosen.type == "cpu":
        keep_freed_memory()
    G = load_qc(network, chosen)
    targets = _targets(G, data, photos, chosen)
    options, tuning = ProjectorOptions(), TuningOptions()
    options = options if projector_steps is None else dataclasses.replace(options, steps=projector_steps)
    tuning = tuning if tuning_steps is None else dataclasses.replace(tuning, steps=tuning_steps)
    settings = {
        "machine": describe(chosen),
        "date": time.strftime("%Y-%m-%d"),
        "resolution": G.img_resolution,
        "photos": photos,
        "precision": G.config.precision.dtype,
    }
    click.echo(", ".join(f"{what} {value}" for what, value in settings.items()))
    records = _measure(G, network, encoder, targets, options, tuning, measured_steps)
    _print(records)
    if json_path:
        write_text(json_path, json.dumps({**settings, "records": records}, indent=2) + "\n")


def _measure(
    G: Generator,
    network: str,
    encoder: str | None,
    targets: Tensor,
    options: ProjectorOptions,
    tuning: TuningOptions,
    measured_steps: int,
) -> list[dict[str, Any]]:
    """Return a record of each stage; tuning first as it is, then without early stop and with ever less shared."""
    perceptual, count, device = _perceptual(targets), len(targets), targets.device
    records = []
    if encoder is not None:
        compute_codes = functools.partial(load_encoder(encoder, network, G), targets)
        with torch.no_grad():
            compute_codes()  # warms up
            seconds, _ = _measure_time(compute_codes, device)
        records.append(_record("encoder", 1, 1, seconds / count))
    seconds, latents = _measure_time(lambda: project(G, targets, options, perceptual), device)
    records.append(_record("projector", options.steps, options.steps, seconds / count))
    counting = _CountingPerceptual(perceptual)
    seconds, _ = _measure_time(lambda: tune(G, latents, targets, tuning, counting), device)
    steps = max(counting.images / count, 1 / count)
    records.append(_record("tuning", steps, steps, seconds / count))
    full = dataclasses.replace(tuning, steps=measured_steps, stop_psnr=None)
    for name, arrangement in _arrangements(G, latents, targets, perceptual, full).items():
        seconds, _ = _measure_time(arrangement, device)
        total = tuning.steps if name.startswith("tuning") else BASELINE_STEPS
        records.append(_record(name, total, measured_steps, seconds / count))
    return records


def _arrangements(
    G: Generator, latents: Latents, targets: Tensor, perceptual: Perceptual, options: TuningOptions
) -> dict[str, Callable[[], object]]:
    """Return arrangements of tuning by name, with ever less shared."""
    last = dataclasses.replace(options, blocks=2)
    every = dataclasses.replace(options, blocks=None)
    alone = dataclasses.replace(options, blocks=None, photos_at_once=1)
    return {
        "tuning, last 2 blocks": lambda: tune(G, latents, targets, last, perceptual),
        "tuning, all blocks": lambda: tune(G, latents, targets, every, perceptual),
        "tuning, all blocks, a photo at a time": lambda: tune(G, latents, targets, alone, perceptual),
        "plain baseline, precision as above": lambda: _plain(G, latents, targets, perceptual, options),
        "plain baseline, fp32": lambda: _plain(
            with_precision(G, "fp32").to(targets.device),
            latents,
            targets,
            _perceptual(targets, full_precision=True),
            options,
        ),
    }


def _plain(G: Generator, latents: Latents, targets: Tensor, perceptual: Perceptual, options: TuningOptions) -> None:
    """Tune photo by photo: a whole copy of the generator, and a whole sharp and a whole degraded pass every step."""
    for row in range(len(latents)):
        one, target = latents[row : row + 1], targets[row : row + 1]
        other = Latents(one.ws.lerp(ws_of_seeds(G, [row]), options.locality_reach), q=one.q)
        network = copy.deepcopy(G).requires_grad_(True)
        optimizer = torch.optim.Adam(network.synthesis.parameters(), lr=options.lr)
        for _ in range(options.steps):
            sharp, degraded = synthesize(network, one.sharp()), synthesize(network, one)
            with torch.no_grad():
                difference = synthesize(G, one) - synthesize(G, one.sharp())
                around = synthesize(G, other)
            loss = options.pixel_weight * (degraded - target).square().mean()
            loss = loss + options.perceptual_weight * perceptual(degraded, target).sum()
            loss = loss + options.twin_weight * (degraded - sharp - difference).square().mean()
            loss = loss + options.locality_weight * (synthesize(network, other) - around).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class _CountingPerceptual(Perceptual):
    """A perceptual distance that counts the images that it compares with a target: one for each step of a photo."""

    def __init__(self, perceptual: Perceptual) -> None:
        self.perceptual = perceptual
        self.images = 0

    def features(self, images: Tensor) -> Features:
        if images.requires_grad:
            self.images += len(images)
        return self.perceptual.features(images)

    def distance(self, a: Features, b: Features) -> Tensor:
        return self.perceptual.distance(a, b)


def _perceptual(targets: Tensor, full_precision: bool = False) -> Perceptual:
    return load_perceptual("cifar", WeightsDirectory(None), targets.device, full_precision)


@torch.no_grad()
def _targets(G: Generator, data: str | None, photos: int, device: torch.device) -> Tensor:
    """Return degraded images `[N, C, R, R]` in [-1, 1]."""
    if data is None:
        seeds = range(photos)
        latents = Latents(ws_of_seeds(G, seeds), q=torch.ones(photos, G.q_dim, device=device))
        return synthesize(G, latents, noise_of_seeds(G, seeds, "random")).clamp(-1, 1)
    dataset = ImageDataset(data, resolution=G.img_resolution, subset=photos, degradation="mixture")
    images = np.stack([dataset.pair(index, (0, index))[1] for index in range(len(dataset))])
    return from_levels(torch.from_numpy(images).to(device))


def _measure_time(function: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    start = now(device)
    result = function()
    return now(device) - start, result


def _record(stage: str, steps: float, measured: float, seconds: float) -> dict[str, Any]:
    """Return the record of a stage of `steps`, of which `measured` took `seconds` a photo."""
    per_step = seconds / measured
    return {
        "stage": stage,
        "steps": steps,
        "measured_steps": measured,
        "seconds_per_step": per_step,
        "seconds": per_step * steps,
    }


def _print(records: list[dict[str, Any]]) -> None:
    baseline = records[-1]["seconds"]
    click.echo(HEADINGS)
    for record in records:
        share = "" if record["stage"] == "encoder" else f"{record['seconds'] / baseline:.1%}"
        mark = "" if record["steps"] == record["measured_steps"] else " *"
        numbers = f"{record['steps']:>8.0f}{record['seconds_per_step']:>10.3f}{record['seconds']:>10.1f}{share:>13}"
        click.echo(f"{record['stage'] + mark:<44}{numbers}")
    click.echo(f"* extrapolated from {records[-1]['measured_steps']} steps of each photo")


if __name__ == "__main__":
    main()
