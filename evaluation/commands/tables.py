"""The commands that make tables: `calc_metrics.py table1`, `classify`, `runtime`, `scales`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dnnlib import commands
from dnnlib.cache import cache_folder
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, unknown_name
from dnnlib.flags import PATH, Command, add_options, processes_option, require_effect
from dnnlib.remote.locations import NetworkFile, resolve
from evaluation.choices import KINDS
from evaluation.commands.options import cache_dir_option, device_option, outdir_option, publish_table, workers_option
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option
from networks.config import Dtype

if TYPE_CHECKING:
    from evaluation.tables.table import Table
    from torch_utils.distributed import World

_OPTIONS = [
    outdir_option,
    device_option,
]


def _table_options(command: Command) -> Command:
    """Add the options that all tables have: `outdir: str | None` and `device: str | None`."""
    return add_options(command, _OPTIONS)


@commands.command("table1", former={"--metric": "--metrics"})
@click.option("--base", type=NetworkFile(), required=True, help="Network of the plain generator.")
@click.option("--qc", type=NetworkFile(), required=True, help="QC network trained from it.")
@click.option("--degraded-base", type=NetworkFile(), help="Plain network trained on degraded images.")
@click.option(
    "--ablation", "ablations", multiple=True, metavar="A=FILE", help="Network of an ablation A to F, for Table 4."
)
@click.option("--data", type=PATH, required=True, metavar="PATH", help="Folder or zip of the real images.")
@click.option(
    "--metrics", "metric", default="fid50k_full", help="Metric that compares with real images, such as fd5k_cifar."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the degradations.")
@workers_option
@processes_option
@weights_dir_option
@cache_dir_option
@_table_options
@one_sentence_errors
def table1_command(
    base: str,
    qc: str,
    degraded_base: str | None,
    ablations: tuple[str, ...],
    data: str,
    metric: str,
    seed: int,
    workers: int,
    gpus: int,
    weights_dir: str | None,
    cache_dir: str | None,
    outdir: str | None,
    device: str | None,
) -> None:
    """Table 1 of the paper, and with --ablation Table 4 of its supplement: sharp and degraded distances."""
    from evaluation.job import Job
    from evaluation.tables.table1 import table1, table4
    from metrics.metric import parse_requests
    from torch_utils.distributed import run

    requests = parse_requests(metric)
    if len(requests) > 1 or requests[0].metric.reals == "none":
        raise UserError(f"--metrics={metric} is not one distance to real images; choose for example fd5k_cifar")
    job = Job(
        requests=tuple(requests),
        data=data,
        weights=WeightsDirectory.find(weights_dir),
        cache_dir=Path(cache_dir) if cache_dir else cache_folder("features"),
        workers=workers,
        seed=seed,
    )
    tables = [partial(table1, job=job, base=base, qc=qc, degraded_base=degraded_base)]
    if networks := _parse_ablations(ablations):
        tables.append(partial(table4, job=job, qc=qc, ablations=networks))
    run(_publish, gpus, device, outdir, tables)


@commands.command("classify")
@click.option("--network", type=NetworkFile(), required=True, help="QC network whose codes are classified.")
@click.option(
    "--data", type=PATH, metavar="PATH", help="Folder or zip of photos to degrade.  [default: the network's own images]"
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    default=KINDS,
    help="Kind of degradation that is told, may be repeated.",
)
@click.option("--train", type=int, default=1000, help="Number of images that the classifiers learn from.")
@click.option("--test", type=int, default=200, help="Number of images that their accuracy is measured on.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=60,
    help="Steps of the optimisation of each code that no encoder tells.",
)
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Number of images in a batch.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the degradations.")
@click.option(
    "--encoder",
    type=NetworkFile(),
    help="Encoder that computes the codes.  [default: they are fitted; with --data the encoder beside the network]",
)
@_table_options
@one_sentence_errors
def classify_command(
    network: str,
    data: str | None,
    kinds: tuple[str, ...],
    train: int,
    test: int,
    steps: int,
    batch: int,
    seed: int,
    encoder: str | None,
    outdir: str | None,
    device: str | None,
) -> None:
    """Section 4.6 of the paper: how well linear classifiers tell blur, noise and JPEG from the quality code.

    \b
    python calc_metrics.py classify --network=qc.safetensors --data=cats256.zip
    """
    from evaluation.tables.classify import ClassifyOptions, classify_table
    from torch_utils.distributed import run

    if encoder is not None and data is None:
        require_effect(["steps"], "where an encoder tells the codes")
    options = ClassifyOptions(train, test, steps, batch, seed, encoder, data, tuple(dict.fromkeys(kinds)))
    run(_publish, 1, device, outdir, [partial(classify_table, network=network, options=options)])


@commands.command("runtime")
@click.option("--network", type=NetworkFile(), required=True, help="Network whose images are timed.")
@click.option("--encoder", type=NetworkFile(), help="Encoder for this network; inversion is timed, too.")
@click.option("--runs", type=click.IntRange(min=2), default=50, help="Number of images that are timed.")
@click.option(
    "--precision",
    type=click.Choice(["stored", "fp32", "bf16"]),
    default="stored",
    help="Precision of the network's computations.",
)
@_table_options
@one_sentence_errors
def runtime_command(
    network: str,
    encoder: str | None,
    runs: int,
    precision: Dtype | Literal["stored"],
    outdir: str | None,
    device: str | None,
) -> None:
    """Table 3 of the paper: seconds for an image."""
    from evaluation.tables.runtime import runtime_table
    from torch_utils.distributed import run

    make = partial(runtime_table, network=network, encoder=encoder, runs=runs, precision=precision)
    run(_publish, 1, device, outdir, [make])


@commands.command("content-mismatch")
@click.option("--network", "networks", type=NetworkFile(), multiple=True, required=True, help="QC network; repeated.")
@click.option("--seeds", type=click.IntRange(min=2), default=64, help="Number of images, with a quality code each.")
@click.option(
    "--metrics",
    "measure",
    type=click.Choice(["pd_cifar", "lpips_alex", "lpips_vgg"]),
    default="pd_cifar",
    help="Perceptual distance.",
)
@weights_dir_option
@_table_options
@one_sentence_errors
def content_mismatch_command(
    networks: tuple[str, ...], seeds: int, measure: str, weights_dir: str | None, outdir: str | None, device: str | None
) -> None:
    """Section 4.8 of the paper: how much of the content a quality code changes, one row a network.

    \b
    python calc_metrics.py content-mismatch --network=blocks.safetensors --network=dual-style.safetensors
    """
    from evaluation.tables.content_mismatch import MismatchOptions, content_mismatch_table
    from torch_utils.distributed import run

    options = MismatchOptions(seeds, measure, WeightsDirectory.find(weights_dir))
    run(_publish, 1, device, outdir, [partial(content_mismatch_table, networks=networks, options=options)])


@commands.command("scales")
@click.option("--network", "networks", type=NetworkFile(), multiple=True, required=True, help="Network; repeated.")
@click.option(
    "--scale",
    "scales",
    type=click.FloatRange(1, 64),
    multiple=True,
    default=(1.5, 2.0, 4.0),
    help="Factor of the trained side; repeated.",
)
@click.option(
    "--shift",
    "shifts",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 8),
    help="Pixels by which a window lies further right; repeated.",
)
@click.option("--samples", type=click.IntRange(min=1), default=16, help="Number of images.")
@_table_options
@one_sentence_errors
def scales_command(
    networks: tuple[str, ...],
    scales: tuple[float, ...],
    shifts: tuple[int, ...],
    samples: int,
    outdir: str | None,
    device: str | None,
) -> None:
    """How well images agree at several sizes and places, and what larger ones cost in time and memory.

    \b
    python calc_metrics.py scales --network=creps.safetensors --network=base.safetensors --scale=1.5 --scale=2 --scale=4
    """
    from evaluation.tables.scales import ScalesOptions, scales_table
    from torch_utils.distributed import run

    if any(math.isnan(scale) for scale in scales):
        raise UserError("--scale=nan must be a number from 1 to 64; write for example --scale=2")
    options = ScalesOptions(scales, shifts, samples)
    run(_publish, 1, device, outdir, [partial(scales_table, networks=networks, options=options)])


def _publish(world: World, outdir: str | None, tables: Sequence[Callable[[World], Table]]) -> None:
    """Make tables in all processes; the first one prints each, and writes it where wanted, as soon as it is made."""
    from torch_utils.memory import keep_freed_memory

    if world.device.type == "cpu":
        keep_freed_memory()
    for make in tables:
        table = make(world)
        if world.is_first:
            publish_table(table, outdir)


def _parse_ablations(texts: Sequence[str]) -> Mapping[str, str]:
    """Return the networks by letter, of texts such as `A=FILE`."""
    from evaluation.tables.table1 import PAPER_ABLATIONS

    networks = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if name not in PAPER_ABLATIONS:
            raise unknown_name("ablation", name, PAPER_ABLATIONS)
        if not separator:
            raise UserError(f"--ablation={text} has no network; write --ablation={name}=FILE")
        networks[name] = str(resolve(os.path.expanduser(path)))
    return networks
