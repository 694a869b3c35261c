"""Measure networks and images: FID and other distances to real images, tables of the paper, similarity of pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dnnlib import commands
from dnnlib.cache import cache_folder
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, processes_option, require_effect
from dnnlib.remote.locations import NetworkFile
from evaluation.choices import QUALITIES
from evaluation.commands.options import cache_dir_option, device_option, workers_option
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option
from networks.config import Dtype

if TYPE_CHECKING:
    from evaluation.job import Job
    from torch_utils.distributed import World

# Where a command is, and what it does.
_IMAGES, _TABLES, _INVERSION, _EDITING, _RESTORATION, _NOISE = (
    f"evaluation.commands.{name}"
    for name in ("images", "tables", "inversion_tables", "editing_tables", "restoration", "noise")
)
COMMANDS = {
    "weights": ("metrics.weights.command:weights", "List published weights, and fetch them."),
    "table1": (f"{_TABLES}:table1_command", "Table 1 of the paper: sharp and degraded distances."),
    "classify": (f"{_TABLES}:classify_command", "Section 4.6: read the degradation from quality codes."),
    "content-mismatch": (f"{_TABLES}:content_mismatch_command", "Section 4.8: content that a quality code changes."),
    "runtime": (f"{_TABLES}:runtime_command", "Table 3: seconds for an image."),
    "scales": (f"{_TABLES}:scales_command", "How images agree at several sizes, and what these cost."),
    "pairs": (f"{_IMAGES}:pairs_command", "Compare images with references: PSNR, SSIM, LPIPS, identity."),
    "niqe": (f"{_IMAGES}:niqe_command", "Rate images without references."),
    "fit-niqe": (f"{_IMAGES}:fit_niqe_command", "Fit NIQE's model to sharp photos."),
    "fit-noise": (f"{_NOISE}:fit_noise_command", "Fit the noise of a network's degraded images to photos."),
    "identity-consistency": (f"{_IMAGES}:identity_consistency_command", "Compare the faces of a video's frames."),
    "restoration": (f"{_RESTORATION}:restoration_command", "Table 2: restore photos that were degraded."),
    "degrade-set": (f"{_RESTORATION}:degrade_set_command", "Write the degraded photos of Table 2, for other programs."),
    "inversion": (f"{_INVERSION}:inversion_command", "Section 4.3: how close reconstructions come to photos."),
    "stability": (f"{_EDITING}:stability_command", "Section 4.7: how similar repeated edits are."),
    "editability": (f"{_EDITING}:editability_command", "Table 3 of the supplement: how much edits change."),
}

# Parameters that say how a network's images are made.
OF_NETWORKS = ("trunc", "noise_mode", "class_index", "first_seed", "scale", "precision")

SECTIONS = {
    "What is measured": ("network", "images", "data", "names", "qualities", "degradation", "outdir", "as_json"),
    "Images of a network": ("samples", "trunc", "noise_mode", "class_index", "first_seed", "scale", "precision"),
    "Running": (
        *("batch", "workers", "gpus", "device", "seed", "on_bad_image", "weights_dir", "cache_dir", "lists_metrics"),
    ),
}


@commands.group(sections=SECTIONS, invoke_without_command=True, no_args_is_help=True, targets=COMMANDS)
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
@click.option(
    "--scale",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    help="Size of the images, as a factor of the trained size; those of a network with a grid are enlarged by Lanczos.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of degradations and random subsets.")
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Number of images in a batch.")
@workers_option
@click.option(
    "--on-bad-image",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    help="What happens to real images that cannot be read.",
)
@processes_option
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
@commands.version_option
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
    scale: float,
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
    from evaluation.job import Job
    from evaluation.streams.fakes import FakeOptions
    from metrics.metric import known_metrics, parse_requests
    from torch_utils.distributed import run

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
        options=FakeOptions(first_seed, trunc, noise_mode, class_index, batch, scale),
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
    from evaluation.job import measure
    from evaluation.results import append_records, result_line
    from torch_utils.memory import keep_freed_memory

    if world.device.type == "cpu":
        keep_freed_memory()
    results = measure(world, job)
    if outdir is not None:
        append_records(outdir, results)
    for result in results:
        click.echo(json.dumps(result.record) if as_json else result_line(result))


if __name__ == "__main__":
    main()
