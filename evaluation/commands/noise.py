"""The command `calc_metrics.py fit-noise`: a QC network whose noise is as strong as that of degraded photos."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib import commands
from dnnlib.cache import cache_folder
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import replace_file
from dnnlib.flags import PATH
from dnnlib.remote.locations import NetworkFile
from evaluation.commands.options import cache_dir_option, device_option, workers_option
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option

if TYPE_CHECKING:
    from evaluation.evaluate import Result
    from evaluation.job import Job
    from evaluation.noise_fit import NoiseChange
    from torch_utils.distributed import World


@commands.command("fit-noise")
@click.option("--network", type=NetworkFile(), required=True, help="QC network of the variant pixels.")
@click.option("--data", type=PATH, metavar="PATH", required=True, help="Folder or zip of sharp photos to degrade.")
@click.option("-o", "--output", type=PATH, metavar="FILE", required=True, help="File of the network to write.")
@click.option(
    "--metrics",
    "name",
    default="fd1k_cifar",
    help="Distance between sets, a single one; more images take longer and err less.",
)
@click.option("--degradation", help="Recipe that degrades the photos.  [default: the network's]")
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Number of images in a batch.")
@workers_option
@device_option
@weights_dir_option
@cache_dir_option
@one_sentence_errors
def fit_noise_command(
    network: str,
    data: str,
    output: str,
    name: str,
    degradation: str | None,
    batch: int,
    workers: int,
    device: str | None,
    weights_dir: str | None,
    cache_dir: str | None,
) -> None:
    """Fit the noise that a QC network draws in pixels to degraded photos, without training.

    Measured are the network as it is and, by a search for the strength, others: noise that mixes its maps to colours as
    trained, and noise that gives each colour a map of its own, as sensors do. The nearest is written; its header tells
    what was done (`noise`). Fit noise when training is done, since more of it may make noise weaker again; an encoder
    then has to learn q of it (`invert.py train-encoder --quality-only`).

    \b
    python calc_metrics.py fit-noise --network=runs/qc/network-snapshot-000100.safetensors --data=cats.zip \\
        -o fitted.safetensors
    """
    from evaluation.job import Job
    from evaluation.streams.fakes import FakeOptions
    from metrics.metric import parse_requests
    from torch_utils.distributed import World, best_device

    requests = tuple(parse_requests(name))
    if len(requests) > 1:
        raise UserError(f"--metrics={name} asks for {len(requests)} metrics; a search needs one, such as fd1k_cifar")
    if requests[0].metric.larger_is_better or requests[0].metric.reals == "none":
        raise UserError(f"--metrics={name} is no distance to photos; give one, such as fd1k_cifar")
    job = Job(
        requests=requests,
        qualities=("degraded",),
        network=network,
        data=data,
        degradation=degradation,
        options=FakeOptions(batch=batch),
        weights=WeightsDirectory.find(weights_dir),
        cache_dir=Path(cache_dir) if cache_dir else cache_folder("features"),
        workers=workers,
    )
    write_nearest(World(0, 1, best_device(device)), job, output)


def write_nearest(world: World, job: Job, output: str) -> None:
    """Write the network of a job with the noise that brings it nearest to the job's photos, and tell of the search."""
    from evaluation.noise_fit import NoiseChange, grain_name, nearest
    from networks.files import GENERATOR, load_generator
    from torch_utils.checkpoint import load_tensors, save_tensors

    assert job.network is not None, "the noise of a network is fitted"
    G, header = load_generator(job.network)
    name = GENERATOR + grain_name(G, job.network)
    tensors = load_tensors(job.network)
    with replace_file(output) as fitted:

        def write(noise: NoiseChange, header: dict[str, Any]) -> None:
            save_tensors(fitted, tensors | {name: noise.apply(tensors[name])}, header)

        def distance(noise: NoiseChange) -> float:
            write(noise, header)
            return _told(noise, _measured(world, job, str(fitted)))

        unchanged = _measured(world, job, job.network)
        for note in unchanged.record["notes"]:
            click.echo(f"note: {note}")
        noise, value = nearest(distance, _told(NoiseChange(), unchanged))
        in_all = noise.after(NoiseChange.of_header(header))
        fit = {**dataclasses.asdict(in_all), "metric": unchanged.name, "value": value}
        write(noise, {**header, "noise": fit})
    click.echo(f"{output}: {noise}")


def _measured(world: World, job: Job, network: str) -> Result:
    """Return the distance of a network's images to the photos of a job."""
    from evaluation.job import measure

    [result] = measure(world, dataclasses.replace(job, network=network))
    return result


def _told(noise: NoiseChange, result: Result) -> float:
    """Print a distance, and return it."""
    value = next(iter(result.values.values()))
    click.echo(f"{noise}: {value:.4g}")
    return value
