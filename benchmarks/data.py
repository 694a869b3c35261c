"""Time the steps from training images on disk to batches on the device: reading, degrading, delivering.

python -m benchmarks.data --data=afhqcat128-train.zip
"""

import copy
import dataclasses
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import click
import numpy as np
import torch

from benchmarks.machine import describe, seconds
from degradations import degrade, recipe_names
from degradations.batched.degrade import degrade as degrade_batch
from degradations.batched.tasks import plan_numbered
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, unknown_name
from dnnlib.files import write_text
from dnnlib.flags import PATH, SETTINGS
from images.datasets.batches import Batch, TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.prefetch import on_device
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory
from training.config import DataConfig

HEADINGS = f"{'stage':<40}{'images':>8}{'seconds':>10}{'images/s':>11}{'a process':>11}"
SEED = 0


@dataclass(frozen=True)
class Stage:
    """A part of the work: how many images it took how long, and how many processes shared it."""

    name: str
    recipe: str | None
    images: int
    seconds: float
    processes: int = 1

    @property
    def title(self) -> str:
        """The name in the table."""
        return self.name if self.recipe is None else f"{self.name}, {self.recipe}"


@click.command(context_settings=SETTINGS)
@click.option("--data", type=PATH, required=True, metavar="PATH", help="Folder or zip of images.")
@click.option("--images", type=click.IntRange(min=1), default=512, help="Number of images.")
@click.option("--recipe", "names", multiple=True, help="Recipe of degradations, may be repeated.  [default: all]")
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Number of processes that deliver images.")
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Number of images in a batch.")
@click.option("--device", help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("-o", "--json", "json_path", type=PATH, metavar="FILE", help="JSON file for the numbers.")
@one_sentence_errors
def main(
    data: str,
    images: int,
    names: tuple[str, ...],
    workers: int,
    batch: int,
    device: str | None,
    json_path: str | None,
) -> None:
    """Print images a second of each stage alone, and of the delivery in which they work together."""
    recipes = list(names) or recipe_names()
    for name in recipes:
        if name not in recipe_names():
            raise unknown_name("degradation recipe", name, recipe_names())
    chosen = best_device(device)
    if chosen.type == "cpu":
        keep_freed_memory()
    dataset = ImageDataset(data, degradation=DataConfig().degradation)
    if dataset.num_images < images:
        raise UserError(f"--images={images} are more than the {dataset.num_images} of {data}; ask for fewer")
    settings = {
        "machine": describe(chosen),
        "date": time.strftime("%Y-%m-%d"),
        "data": dataset.name,
        "resolution": dataset.resolution,
        "batch": batch,
        "workers": workers,
    }
    click.echo(", ".join(f"{what} {value}" for what, value in settings.items()))
    click.echo(HEADINGS)
    stages = []
    for stage in itertools.chain(
        _alone(dataset, images, recipes, batch, chosen), _delivered(dataset, images, workers, batch, chosen)
    ):
        rate = stage.images / stage.seconds
        numbers = f"{stage.images:>8}{stage.seconds:>10.3f}{rate:>11.0f}{rate / stage.processes:>11.0f}"
        click.echo(f"{stage.title:<40}{numbers}")
        stages.append(dataclasses.asdict(stage))
    if json_path:
        write_text(json_path, json.dumps({**settings, "stages": stages}, indent=2) + "\n")


def _alone(dataset: ImageDataset, count: int, names: list[str], batch: int, device: torch.device) -> Iterator[Stage]:
    """Yield reading and degrading in this process, by the workers' code and on the device."""
    cpu = torch.device("cpu")
    yield Stage("read", None, count, seconds(lambda: [dataset.image(i) for i in range(count)], cpu, repeats=3))
    sharp = np.stack([dataset.image(i) for i in range(count)])  # [count, C, R, R]
    pixels = np.ascontiguousarray(sharp.transpose(0, 2, 3, 1))
    parts = torch.from_numpy(sharp).to(device).split(batch)

    def as_workers(name: str) -> None:
        for number, image in enumerate(pixels):
            degrade(image, name, np.random.default_rng((SEED, number)))

    def as_device(name: str) -> None:
        plans = plan_numbered(name, SEED, range(count), dataset.resolution)
        for number, part in enumerate(parts):
            degrade_batch(part, plans[number * batch :][: len(part)])

    for name in names:
        yield Stage("degrade as workers do", name, count, seconds(partial(as_workers, name), cpu, repeats=3))
        yield Stage(f"degrade on {device.type}", name, count, seconds(partial(as_device, name), device, repeats=3))


def _delivered(dataset: ImageDataset, count: int, workers: int, batch: int, device: torch.device) -> Iterator[Stage]:
    """Yield the delivery of batches to the device: sharp ones, and pairs degraded by the workers or on the device."""
    steps, recipe = -(-count // batch), dataset.degradation
    plain = copy.copy(dataset)
    plain.degradation = None

    def deliver(stream: Iterator[Batch]) -> None:
        for delivered in itertools.islice(stream, steps):
            if delivered.plans is not None:
                degrade_batch(delivered.images, delivered.plans)

    names = {None: "deliver", "workers": "deliver, workers degrade", "device": f"deliver, {device.type} degrades"}
    for degrade_on, name in names.items():
        batches = TrainingBatches(
            plain if degrade_on is None else dataset,
            batch,
            slice(0, batch),
            SEED,
            workers=workers,
            pin_memory=device.type == "cuda",
            degrade=degrade_on == "workers",
        )
        call = partial(deliver, on_device(batches, device))
        applied = None if degrade_on is None else recipe
        yield Stage(name, applied, steps * batch, seconds(call, device, repeats=3), workers)


if __name__ == "__main__":
    main()
