"""The commands that make tables: `calc_metrics.py table1`, `classify`, `runtime`."""

from collections.abc import Callable
from pathlib import Path

import click

from dnnlib.cache import cache_folder
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, unknown_name
from dnnlib.flags import SETTINGS
from dnnlib.remote.locations import NetworkFile, resolve
from evaluation.job import Job
from evaluation.tables.classify import ClassifyOptions, classify_table
from evaluation.tables.runtime import runtime_table
from evaluation.tables.table import Table, write_table
from evaluation.tables.table1 import PAPER_ABLATIONS, table1, table4
from metrics.metric import parse_requests
from metrics.weights.directory import WeightsDirectory
from torch_utils.distributed import World, run
from torch_utils.memory import keep_freed_memory


def _shared(command: Callable) -> Callable:
    """Add the options that all tables have."""
    for option in (
        click.option("--device", help="cuda, mps or cpu.  [default: the best there is]"),
        click.option("-o", "--outdir", default="tables", help="Where the table goes, as markdown and JSON."),
    ):
        command = option(command)
    return command


@click.command("table1", context_settings=SETTINGS)
@click.option("--base", type=NetworkFile(), required=True, help="Network of the plain generator.")
@click.option("--qc", type=NetworkFile(), required=True, help="The QC network made from it.")
@click.option("--degraded-base", type=NetworkFile(), help="A plain network trained on degraded images.")
@click.option("--ablation", "ablations", multiple=True, metavar="A=FILE", help="For a second table; A to F.")
@click.option("--data", required=True, metavar="PATH", help="The real images.")
@click.option("--metric", default="fid50k_full", help="One that compares with real images, such as fd5k_cifar.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the degradations.")
@click.option("--workers", type=click.IntRange(min=0), default=2, help="Processes that read real images.")
@click.option("--gpus", type=click.IntRange(min=1), default=1, help="Processes (torchrun's number under torchrun).")
@click.option("--weights-dir", metavar="DIR", help="Published weights.  [default: $QC_STYLEGAN_WEIGHTS]")
@click.option("--cache-dir", metavar="DIR", help="Features of real images.  [default: $QC_STYLEGAN_CACHE/features]")
@_shared
@one_sentence_errors
def table1_command(metric, weights_dir, cache_dir, data, seed, workers, gpus, device, outdir, ablations, **networks):
    """Table 1 of the paper, and with --ablation Table 4 of its supplement: sharp and degraded distances."""
    requests = parse_requests(metric)
    if len(requests) > 1 or requests[0].metric.reals == "none":
        raise UserError(f"--metric={metric} is not one distance to real images; choose for example fd5k_cifar")
    job = Job(
        requests=tuple(requests),
        data=data,
        weights=WeightsDirectory.find(weights_dir),
        cache_dir=Path(cache_dir) if cache_dir else cache_folder("features"),
        workers=workers,
        seed=seed,
    )
    run(_table1, gpus, device, job, networks, _ablations(ablations), outdir)


@click.command("classify", context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="A QC network.")
@click.option("--train", type=int, default=1000, help="Images that the classifiers learn from.")
@click.option("--test", type=int, default=200, help="Images that they are judged by.")
@click.option("--steps", type=click.IntRange(min=1), default=60, help="Of the optimisation of each code.")
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Images at once.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the degradations.")
@click.option("--encoder", type=NetworkFile(), help="That tells the codes.  [default: they are fitted]")
@_shared
@one_sentence_errors
def classify_command(network, outdir, device, **options):
    """Section 4.6 of the paper: what a quality code tells about blur."""
    run(_publish, 1, device, outdir, classify_table, network, ClassifyOptions(**options))


@click.command("runtime", context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="A network-snapshot.")
@click.option("--encoder", type=NetworkFile(), help="Of this network; also time inversion with it.")
@click.option("--runs", type=click.IntRange(min=2), default=50, help="Images that are timed.")
@click.option("--precision", type=click.Choice(["stored", "fp32", "bf16"]), default="stored", help="Of the network.")
@_shared
@one_sentence_errors
def runtime_command(network, encoder, outdir, device, runs, precision):
    """Table 3 of the paper: seconds for an image."""
    run(_publish, 1, device, outdir, runtime_table, network, encoder, runs, precision)


def _table1(world: World, job: Job, networks: dict, ablations: dict, outdir: str) -> None:
    _publish(world, outdir, table1, job, networks["base"], networks["qc"], networks["degraded_base"])
    if ablations:
        _publish(world, outdir, table4, job, networks["qc"], ablations)


def _publish(world: World, outdir: str, make: Callable[..., Table], *arguments) -> None:
    """Make a table in all processes; print and write it in the first."""
    if world.device.type == "cpu":
        keep_freed_memory()
    table = make(world, *arguments)
    if world.is_first:
        click.echo(table.markdown())
        write_table(table, outdir)


def _ablations(texts):
    """Return the networks by letter."""
    networks = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if name not in PAPER_ABLATIONS:
            raise unknown_name("ablation", name, PAPER_ABLATIONS)
        if not separator:
            raise UserError(f"--ablation={text} has no network; write --ablation={name}=FILE")
        networks[name] = str(resolve(path))
    return networks
