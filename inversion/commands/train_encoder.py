"""The command `train-encoder`: trains an encoder for a network."""

import contextlib
import json
from typing import Any

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.config import to_dict
from dnnlib.flags import PATH
from dnnlib.remote.locations import NetworkFile
from dnnlib.running.stop import stoppable
from inversion.encoders.config import BACKBONES, KIND_PARTS
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option

SECTIONS = {
    "Data": (
        *("network", "data", "outdir", "degradation", "mirror", "subset", "on_bad_image", "allow_data_change"),
        *("licence", "log"),
    ),
    "Encoder": (
        *("kind", "padded_layers", "feature_layer", "backbone", "width", "space", "input_size", "init_from", "arcface"),
        *("quality_only", "ablation"),
    ),
    "Schedule": ("kimg", "tick", "snap", "batch", "lr", "seed"),
    "Machine": ("gpus", "device", "precision", "workers"),
    "Expert": ("perceptual", "weights_dir", "overrides", "dry_run"),
}


@commands.command("train-encoder", sections=SECTIONS, former={"--subset": "--count"})
@click.option("--network", type=NetworkFile(), required=True, help="Network to invert; it stays as it is.")
@click.option("--data", type=PATH, required=True, help="Folder or zip of photos, as dataset_tool.py writes it.")
@click.option(
    "-o", "--outdir", type=PATH, required=True, help="Directory of this run; the same command again continues it."
)
@click.option(
    "--kind",
    type=click.Choice(list(KIND_PARTS)),
    help="What is predicted besides w: nothing; paddings, for what is where; or the features of one layer, for all "
    "that w cannot hold.  [default: psp]",
)
@click.option("--padded-layers", type=int, help="Layers whose padding is predicted, of kind padding.  [default: 4]")
@click.option(
    "--feature-layer",
    type=int,
    help="Layer K whose features are predicted, of kind feature-style.  [default: 5, or the last of a small network]",
)
@click.option(
    "--ablation",
    metavar="NAME",
    help="Train as in an ablation of the kind's paper; an unknown NAME is answered with those that there are.",
)
@click.option("--backbone", help=f"Backbone of both networks: {', '.join(BACKBONES.names())}.  [default: ir_se50]")
@click.option("--width", type=float, help="Factor of all channels; ir_se50 has only 1.")
@click.option("--space", type=click.Choice(["w", "w+"]), help="One w for all layers, or one for each.  [default: w+]")
@click.option(
    "--input-size", type=int, help="Side that photos are resized to.  [default: the network's side, 64 to 256]"
)
@click.option(
    "--init-from",
    type=NetworkFile(),
    help="Encoder to begin with, of the same sizes; its network may be an earlier one.  [default: fresh weights]",
)
@click.option(
    "--quality-only",
    is_flag=True,
    default=None,
    help="Train the network for q alone; w and all besides stay as --init-from (default: the network's encoder) tells.",
)
@click.option("--arcface", is_flag=True, default=None, help="Begin with the published ArcFace weights.")
@click.option("--perceptual", type=click.Choice(["cifar", "lpips_alex"]), help="Perceptual distance.  [default: cifar]")
@click.option("--degradation", help="Recipe of the degraded photos.  [default: the network's; none for a plain one]")
@click.option("--mirror/--no-mirror", default=None, help="Add each photo's mirror image.")
@click.option("--count", "subset", type=int, help="Number of photos to use.  [default: all]")
@click.option("--batch", type=int, help="Images a step, own samples included.")
@click.option("--lr", type=float, help="Learning rate at its highest.")
@click.option("--kimg", type=float, help="Length of the training, in thousands of images.")
@click.option("--tick", type=float, help="Thousands of images between two lines of the log.")
@click.option("--snap", type=int, help="Ticks between two encoders.")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="Precision of the networks.  [default: suits the device]"
)
@click.option("--device", help="cuda, mps or cpu.  [default: the best there is]")
@click.option("--workers", type=int, help="Processes that read and degrade photos, for each GPU.")
@click.option(
    "--gpus",
    "--processes",
    "gpus",
    type=int,
    help="Processes that share each batch, one a GPU; on the CPU with --device=cpu (torchrun's under torchrun).",
)
@click.option("--on-bad-image", type=click.Choice(["fail", "skip"]), help="What to do about unreadable files.")
@click.option(
    "--allow-data-change",
    is_flag=True,
    default=None,
    help="Continue although the photos are not those of the run so far.",
)
@click.option("--licence", help="Licence of the photos, stored in the encoders.  [default: the network's]")
@click.option(
    "--log", metavar="NAMES", help="Services to log to besides TensorBoard: wandb, mlflow, or both with a comma."
)
@click.option("--seed", type=int, help="Seed of all random numbers.")
@weights_dir_option
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Any field of the configuration.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration, and stop.")
@one_sentence_errors
@stoppable
def train_encoder_command(
    network: str,
    outdir: str,
    weights_dir: str | None,
    ablation: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    **flags: Any,
) -> None:
    """Train an encoder: from photos to the codes of a network, in one pass: w and q, and paddings or features by kind.

    \b
    python invert.py train-encoder --network=network-....safetensors --data=cats.zip --outdir=runs/encoder
    """
    from inversion.commands.encoder_config import resolve
    from inversion.encoders.run import EncoderRunDirectory
    from inversion.encoders.training import require_shares, train_encoder_in
    from torch_utils.distributed import is_first_process, planned_processes, run
    from training.sink import require_packages

    if not dry_run:
        EncoderRunDirectory(outdir).require_unlocked()  # at once, since the rest takes a while
    config = resolve(network, overrides, ablation, **flags)
    if dry_run:
        click.echo(json.dumps(to_dict(config), indent=2))
        return
    require_packages(config.run.log)
    require_shares(config, planned_processes(config.run.gpus))
    weights = WeightsDirectory.find(weights_dir)
    with EncoderRunDirectory(outdir).hold() if is_first_process() else contextlib.nullcontext() as lock:
        run(train_encoder_in, config.run.gpus, config.run.device, config, outdir, weights, lock)
