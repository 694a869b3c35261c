"""Time what happens to training images before the networks see them: reading, degrading, delivering.

python -m benchmarks.data --data=afhqcat128-train.zip
"""

import dataclasses
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import click
import numpy as np
import torch

from benchmarks.machine import describe, seconds
from degradations import degrade, recipe_names
from degradations.batched.degrade import degrade_numbered
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, unknown_name
from dnnlib.files import write_text
from dnnlib.flags import SETTINGS
from images.datasets.batches import TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.prefetch import on_device
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory
from training.config import DataConfig

HEADINGS = f"{'stage':<40}{'images':>8}{'seconds':>10}{'images/s':>11}{'a process':>11}"
SEED = 0


@dataclass(frozen=True)
class Stage:
    """A part of the work: how many images it took how long, and the processes that shared it."""

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
@click.option("--data", required=True, metavar="PATH", help="Folder or zip of images.")
@click.option("--images", type=click.IntRange(min=1), default=512, help="How many of them.")
@click.option("--recipe", "names", multiple=True, help="To degrade by, repeatable.  [default: all]")
@click.option(
    "--workers", type=click.IntRange(min=1), default=2, help="Processes that read, where images are delivered."
)
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Images at once.")
@click.option("--device", help="cuda, mps or cpu.  [default: the best there is]")
@click.option("-o", "--json", "json_path", metavar="FILE", help="Also write the numbers to this file.")
@one_sentence_errors
def main(data, images, names, workers, batch, device, json_path):
    """Print images a second of each stage alone, and of the delivery in which they work together."""
    names = names or recipe_names()
    for name in names:
        if name not in recipe_names():
            raise unknown_name("degradation recipe", name, recipe_names())
    device = best_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    dataset = ImageDataset(data, degradation=DataConfig().degradation)
    if dataset.num_images < images:
        raise UserError(f"--images={images} are more than the {dataset.num_images} of {data}; ask for fewer")
    settings = {
        "machine": describe(device),
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
        _alone(dataset, images, names, batch, device), _delivered(dataset, images, workers, batch, device)
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
    for name in names:

        def as_workers(name=name):
            for number, image in enumerate(pixels):
                degrade(image, name, np.random.default_rng((SEED, number)))

        def as_device(name=name):
            for number, part in enumerate(parts):
                degrade_numbered(part, name, SEED, number * batch)

        yield Stage("degrade as workers do", name, count, seconds(as_workers, cpu, repeats=3))
        yield Stage(f"degrade on {device.type}", name, count, seconds(as_device, device, repeats=3))


def _delivered(dataset: ImageDataset, count: int, workers: int, batch: int, device: torch.device) -> Iterator[Stage]:
    """Yield the delivery of batches to the device: sharp ones, and pairs degraded by the workers or on the device."""
    steps = -(-count // batch)
    for place in (None, "workers", "device"):
        batches = TrainingBatches(
            dataset,
            batch,
            slice(0, batch),
            SEED,
            workers=workers,
            pin_memory=device.type == "cuda",
            degrade=place == "workers",
        )
        stream = on_device(batches, device)

        def deliver(stream=stream, degrades=place == "device"):
            for number, delivered in enumerate(itertools.islice(stream, steps)):
                if degrades:
                    degrade_numbered(delivered.images, dataset.degradation, SEED, number * batch)

        name = {None: "deliver", "workers": "deliver, workers degrade", "device": f"deliver, {device.type} degrades"}
        recipe = None if place is None else dataset.degradation
        yield Stage(name[place], recipe, steps * batch, seconds(deliver, device, repeats=3), workers)


if __name__ == "__main__":
    main()
