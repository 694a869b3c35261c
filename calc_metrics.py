"""Measure networks and images: FID and other distances to real images, tables of the paper, similarity of pairs."""

import json
from pathlib import Path
from typing import Literal

import click

from dnnlib.cache import cache_folder
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, SETTINGS, require_effect
from dnnlib.remote.locations import NetworkFile
from evaluation.commands.images import fit_niqe_command, identity_consistency_command, niqe_command, pairs_command
from evaluation.commands.inversion_tables import (
    editability_command,
    inversion_command,
    restoration_command,
    stability_command,
)
from evaluation.commands.options import cache_dir_option, device_option, gpus_option, workers_option
from evaluation.commands.tables import classify_command, runtime_command, table1_command
from evaluation.job import QUALITIES, Job, measure
from evaluation.results import append_records, result_line
from evaluation.streams.fakes import FakeOptions
from metrics.metric import known_metrics, parse_requests
from metrics.weights.command import weights
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option
from networks.config import Dtype
from torch_utils.distributed import World, run
from torch_utils.memory import keep_freed_memory

# Parameters that say how a network's images are made.
OF_NETWORKS = ("trunc", "noise_mode", "class_index", "first_seed", "precision")


@click.group(invoke_without_command=True, context_settings=SETTINGS, no_args_is_help=True)
@click.option("--network", type=NetworkFile(), help="Network whose images are measured.")
@click.option("--images", type=PATH, metavar="PATH", help="Folder or zip of images, measured in place of a network's.")
@click.option(
    "--data", type=PATH, metavar="PATH", help="Folder or zip of the real images, as dataset_tool.py writes it."
)
@click.option("--metrics", "names", default="fd_cifar", help="Names of metrics, with commas; --list shows all.")
@click.option(
    "--quality",
    "qualities",
    multiple=True,
    default=["sharp"],
    type=click.Choice(QUALITIES),
    help="Quality of the images, may be repeated.",
)
@click.option("--samples", type=int, help="Number of generated images where a name has none.  [default: 50000]")
@click.option("--degradation", help="Recipe for the real images of quality degraded.  [default: the network's]")
@click.option("--trunc", type=float, default=1.0, help="Truncation psi.")
@click.option(
    "--noise-mode", type=click.Choice(["random", "const", "none"]), default="random", help="Noise of the layers."
)
@click.option("--class", "class_index", type=int, help="Class of a conditional network.  [default: as in the data]")
@click.option("--first-seed", type=click.IntRange(min=0), default=0, help="Seed of the first generated image.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of degradations and random subsets.")
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Number of images in a batch.")
@workers_option
@click.option(
    "--on-bad-image",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    help="What happens to real images that cannot be read.",
)
@gpus_option
@device_option
@click.option(
    "--precision",
    type=click.Choice(["stored", "fp32", "bf16"]),
    default="stored",
    help="Precision of the network's computations.",
)
@weights_dir_option
@cache_dir_option
@click.option(
    "-o", "--outdir", type=PATH, metavar="DIR", help="Folder for results, each appended to DIR/metric-NAME.jsonl."
)
@click.option("--json", "as_json", is_flag=True, help="Print whole records as JSON.")
@click.option("--list", "lists_metrics", is_flag=True, help="Print the names of all metrics, and stop.")
@click.pass_context
@one_sentence_errors
def main(
    context: click.Context,
    network: str | None,
    images: str | None,
    data: str | None,
    names: str,
    qualities: tuple[str, ...],
    samples: int | None,
    degradation: str | None,
    trunc: float,
    noise_mode: str,
    class_index: int | None,
    first_seed: int,
    seed: int,
    batch: int,
    workers: int,
    on_bad_image: str,
    gpus: int,
    device: str | None,
    precision: Dtype | Literal["stored"],
    weights_dir: str | None,
    cache_dir: str | None,
    outdir: str | None,
    as_json: bool,
    lists_metrics: bool,
) -> None:
    """Measure a network, or a folder of images, against real ones.

    \b
    python calc_metrics.py --network=qc.safetensors --data=cats.zip --metrics=fid50k_full,kid50k_full \\
        --quality=sharp --quality=degraded
    python calc_metrics.py --network=qc.safetensors --data=cats.zip --metrics=fd_cifar,pr5k_cifar
    python calc_metrics.py --images=restored/ --data=sharp/ --metrics=fd_cifar
    """
    if context.invoked_subcommand is not None:
        reason = f"before the command {context.invoked_subcommand}; write it behind, where the command has it"
        require_effect([name for name in context.params if name], reason)
        return
    if lists_metrics:
        click.echo("\n".join(known_metrics()))
        return
    if (network is None) == (images is None):
        raise UserError("what is measured must be one of --network=FILE and --images=PATH; give one of them")
    if images is not None:
        require_effect(OF_NETWORKS, "with --images")
    if "degraded" not in qualities:
        require_effect(["degradation"], "without --quality=degraded; add it, or leave it out")
    job = Job(
        requests=tuple(parse_requests(names, samples)),
        qualities=tuple(dict.fromkeys(qualities)),
        network=network,
        images=images,
        data=data,
        degradation=degradation,
        options=FakeOptions(first_seed, trunc, noise_mode, class_index, batch),
        precision=precision,
        weights=WeightsDirectory.find(weights_dir),
        cache_dir=Path(cache_dir) if cache_dir else cache_folder("features"),
        workers=workers,
        seed=seed,
        on_bad_image=on_bad_image,
    )
    run(print_results, gpus, device, job, outdir, as_json)


def print_results(world: World, job: Job, outdir: str | None, as_json: bool) -> None:
    """Measure, print the results, and append them to the files in `outdir`, if any."""
    if world.device.type == "cpu":
        keep_freed_memory()
    results = measure(world, job)
    if outdir is not None:
        append_records(outdir, results)
    for result in results:
        click.echo(json.dumps(result.record) if as_json else result_line(result))


for command in (
    *(weights, table1_command, classify_command, runtime_command),
    *(pairs_command, niqe_command, fit_niqe_command, identity_consistency_command),
    *(restoration_command, inversion_command, stability_command, editability_command),
):
    main.add_command(command)


if __name__ == "__main__":
    main()
