"""Train a StyleGAN2-ADA (--mode=base), or a QC-StyleGAN from one (--mode=qc)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from dnnlib import commands
from dnnlib.cache import cache_folder
from dnnlib.cli import one_sentence_errors
from dnnlib.config import differences, from_dict, to_dict, with_overrides
from dnnlib.errors import UserError, counted
from dnnlib.flags import PATH, fields_of_flags, parse_assignment
from dnnlib.remarks import remark
from dnnlib.remote.locations import NetworkFile
from dnnlib.running.stop import stoppable
from metrics.weights.option import weights_dir_option
from networks.config import CONTINUED_BY, KINDS, GeneratorConfig, Variant
from training import presets
from training.config import TrainConfig, batch_per_process, without_effect

if TYPE_CHECKING:
    from networks.files import ImageFormat
    from networks.generators.interface import Generator

# Flag -> the fields of the configuration that it sets.
FIELDS = {
    "data": ("data.path",),
    "mirror": ("data.mirror",),
    "cond": ("data.use_labels",),
    "subset": ("data.subset",),
    "degradation": ("data.degradation",),
    "degrade_on": ("data.degrade_on",),
    "licence": ("data.licence",),
    "subject": ("data.subject",),
    "seed": ("seed",),
    "generator": ("generator.kind",),
    "gamma": ("loss.r1_gamma",),
    "lr": ("optimizer_g.lr", "optimizer_d.lr"),
    "precision": ("generator.precision.dtype", "discriminator.precision.dtype"),
    "aug": ("augment.mode",),
    "aug_p": ("augment.p",),
    "target": ("augment.target",),
    "augpipe": ("augment.pipe",),
    "freezed": ("discriminator.freeze_layers",),
    "variant": ("generator.quality.variant",),
    "degrad_only": ("train_degrad_only",),
    "kimg": ("run.kimg",),
    "tick": ("run.kimg_per_tick",),
    "snap": ("run.snapshot_ticks",),
    "keep_snapshots": ("run.keep_snapshots",),
    "gpus": ("run.gpus",),
    "batch_gpu": ("run.batch_gpu",),
    "device": ("run.device",),
    "workers": ("run.workers",),
    "on_bad_image": ("run.on_bad_image",),
    "allow_data_change": ("run.allow_data_change",),
    "exact_convolutions": ("run.exact_convolutions",),
    "cuda_graphs": ("run.cuda_graphs",),
    "log": ("run.log",),
}

SECTIONS = {
    "Run": ("outdir", "mode", "preset_name", "init_from", "log", "dry_run"),
    "Data": (
        *("data", "cond", "mirror", "subset", "degradation", "licence", "subject", "on_bad_image", "allow_data_change"),
    ),
    "Schedule": ("kimg", "batch", "tick", "snap", "keep_snapshots", "seed"),
    "Machine": ("gpus", "batch_gpu", "device", "precision", "workers", "degrade_on", "cuda_graphs"),
    "Network and loss": ("generator", "variant", "degrad_only", "gamma", "lr", "freezed", "ablation"),
    "Augmentation": ("aug", "aug_p", "target", "augpipe"),
    "Metrics": ("metrics", "best", "weights_dir"),
    "Expert": ("exact_convolutions", "overrides"),
}


@commands.command(sections=SECTIONS, former={"--subset": "--count"})
@click.option(
    "-o", "--outdir", type=PATH, required=True, help="Directory of this run; the same command again continues it."
)
@click.option(
    "--data", type=PATH, required=True, help="Folder, zip or tar of images, or several such as cats-{000..127}.tar."
)
@click.option(
    "--mode",
    type=click.Choice(["base", "qc"]),
    default="base",
    help="Kind of network to train: a plain one, or one with a quality code.",
)
@click.option(
    "--generator",
    type=click.Choice(KINDS.names()),
    help="Kind of generator.  [default: the preset's, or --init-from's]",
)
@click.option("--init-from", type=NetworkFile(), help="Network to start from; in mode qc the base network.")
@click.option("--preset", "preset_name", default="auto", help=f"One of {', '.join(presets.PRESETS)}.")
@click.option(
    "--ablation", type=click.Choice(sorted(presets.ABLATIONS)), help="Ablation of the paper's supplement, Table 4."
)
@click.option("--batch", type=int, help="Images a step, over all GPUs.  [default: the preset's]")
@click.option("--batch-gpu", type=int, help="Images a GPU handles at once; the rest is accumulated.")
@click.option(
    "--gpus",
    "--processes",
    "gpus",
    type=int,
    help="Processes to start on this machine, one a GPU; on the CPU with --device=cpu (torchrun's under torchrun).",
)
@click.option("--device", help="cuda, mps or cpu.  [default: the best there is]")
@click.option("--kimg", type=float, help="Length of the training, in thousands of images.")
@click.option("--tick", type=float, help="Thousands of images between two lines of the log.")
@click.option("--snap", type=int, help="Ticks between two networks.")
@click.option("--keep-snapshots", type=int, help="Number of networks to keep, the newest ones.  [default: all]")
@click.option("--cond/--uncond", default=None, help="Condition on the labels of dataset.json.")
@click.option("--mirror/--no-mirror", default=None, help="Add each image's mirror image.")
@click.option("--count", "subset", type=int, help="Number of images to use.  [default: all]")
@click.option(
    "--degradation",
    help="Recipe of the real degraded images; in mode base all real images are degraded by it, if given.",
)
@click.option(
    "--degrade-on", type=click.Choice(["auto", "workers", "device"]), help="Processor that degrades real images."
)
@click.option("--on-bad-image", type=click.Choice(["fail", "skip"]), help="Treatment of unreadable files.")
@click.option(
    "--allow-data-change",
    is_flag=True,
    default=None,
    help="Continue although the images are not those of the run so far.",
)
@click.option(
    "--exact-convolutions",
    is_flag=True,
    default=None,
    help="Take torch's convolutions on every processor, also where others are faster.",
)
@click.option(
    "--cuda-graphs",
    type=click.Choice(["none", "passes", "phases"]),
    help="Start passes, or whole phases of a step, as one CUDA graph each; for small batches on a GPU.",
)
@click.option("--licence", help="Licence of the images, stored in the network's header.")
@click.option("--subject", help="What the images show, such as 'cat faces', stored in the network's header.")
@click.option("--workers", type=int, help="Processes that read and degrade images.")
@click.option(
    "--log", metavar="NAMES", help="Services to log to besides TensorBoard: wandb, mlflow, or both with a comma."
)
@click.option("--seed", type=int, help="Seed of all random numbers.")
@click.option("--gamma", type=float, help="Weight of R1.")
@click.option("--lr", type=float, help="Learning rate of all networks.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Number type of high resolutions.  [default: suits the device]",
)
@click.option("--aug", type=click.Choice(["ada", "fixed", "none"]), help="Augmentation of the discriminators' images.")
@click.option("--aug-p", type=float, help="Probability of each augmentation (at the start, for ada).")
@click.option("--target", type=float, help="Value at which ada holds E[sign D(real)].")
@click.option("--augpipe", help="Set of augmentations: blit, geom, ..., bgc, bgcfnc.")
@click.option(
    "--freezed", type=int, help="Freeze-D: number of discriminator layers, from the image on, that keep their weights."
)
@click.option("--variant", type=click.Choice(get_args(Variant)), help="Variant of the DegradBlock.")
@click.option(
    "--degrad-only/--whole-head",
    default=None,
    help="Part of the network that mode qc trains: the DegradBlocks alone, or the last blocks.  "
    "[default: degrad-only for images up to 128 pixels with --preset=auto or demo, else whole-head]",
)
@click.option("--metrics", help="Metrics to measure at each snapshot, such as fid5k_full,fd5k_cifar.")
@click.option(
    "--best", help="Metric that decides which network is the best, as NAME/QUALITY.  [default: the first, sharp]"
)
@weights_dir_option
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Set any field of the configuration.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and the networks, and stop.")
@commands.version_option
@one_sentence_errors
@stoppable
def main(
    outdir: str,
    preset_name: str,
    dry_run: bool,
    metrics: str | None,
    best: str | None,
    weights_dir: str | None,
    **flags: Any,
) -> None:
    """Train a StyleGAN2-ADA (--mode=base), or a QC-StyleGAN from one (--mode=qc).

    \b
    python train.py --outdir=runs/base --data=cats.zip --gpus=8
    python train.py --outdir=runs/qc --data=cats.zip --gpus=8 --mode=qc --init-from=runs/base/network-....safetensors
    """
    from evaluation.snapshots import snapshot_metrics
    from images.datasets.dataset import check_recipe
    from networks.files import build_discriminator, build_generator
    from networks.table import network_table
    from torch_utils.distributed import is_first_process, planned_processes, run
    from training.loop import train
    from training.run_directory import RunDirectory
    from training.sink import require_packages

    directory = RunDirectory(outdir)
    if is_first_process() and not dry_run:
        directory.require_unlocked()  # at once, since the rest takes a while
    config, images = resolve(preset_name, **flags)
    require_packages(config.run.log)
    batch_per_process(config, planned_processes(config.run.gpus))
    if config.degrades:
        check_recipe(config.data.degradation)
    hook = None
    if metrics is not None:
        hook = snapshot_metrics(config, outdir, metrics, best, weights_dir, cache_folder("features"))
    elif weights_dir is not None:
        raise UserError(f"--weights-dir={weights_dir} has no effect without --metrics; add --metrics=NAMES")
    elif best is not None:
        raise UserError(f"--best={best} says which of the metrics counts, and there are none; add --metrics=NAMES")
    if dry_run:
        click.echo(json.dumps(to_dict(config), indent=2))
        click.echo(network_table(build_generator(config.generator, images), "Generator"))
        click.echo(network_table(build_discriminator(config.discriminator, images), "Discriminator"))
        return
    with directory.hold() if is_first_process() else contextlib.nullcontext() as lock:
        limit = config.run.rank_timeout
        run(train, config.run.gpus, config.run.device, config, outdir, hook, lock, timeout=limit)


def resolve(
    preset_name: str,
    mode: Literal["base", "qc"],
    init_from: str | None,
    ablation: str | None,
    batch: int | None,
    overrides: Sequence[str],
    **flags: Any,
) -> tuple[TrainConfig, ImageFormat]:
    """Return the configuration that the flags describe, and the format of its images.

    The order is: preset, mode, ablation, flags, --set.
    """
    from torch_utils.distributed import best_device, planned_processes
    from torch_utils.precision import fastest_dtype
    from training.loop import image_format, open_dataset

    if mode == "qc" and init_from is None:
        raise UserError("--mode=qc needs a base network; train one with --mode=base and give it as --init-from=FILE")
    values = fields_of_flags(flags, FIELDS) | dict(_parse_override(text) for text in overrides)
    if mode == "base" and "data.degradation" in values:
        values = {"data.reals": "degraded", **values}
    of_surroundings = {path: text for path, text in values.items() if path.startswith(("data.", "run."))}
    surroundings = with_overrides(TrainConfig(), of_surroundings)
    images = image_format(open_dataset(surroundings))
    processes = planned_processes(surroundings.run.gpus)
    config = presets.build(preset_name, images.resolution, batch, processes, mode)
    if warning := presets.unsuitable(preset_name, images.resolution):
        remark(warning)
    config = presets.with_precision(config, fastest_dtype(best_device(surroundings.run.device)))
    if values.get("generator.kind", "").strip('"') == "creps":
        config = presets.as_creps(config)
    config = with_overrides(config, {"data.resolution": str(images.resolution)})
    if init_from is not None:
        config = _start_from(config, mode, init_from, images)
    if ablation is not None:
        if mode != "qc":
            raise UserError(f"--ablation={ablation} changes QC-StyleGAN; add --mode=qc")
        config = presets.ABLATIONS[ablation](config)
    config = with_overrides(config, values)
    if mode == "qc" and preset_name in presets.FOR_ANY_SIDE and not _concerns_other_blocks(values, ablation):
        config = presets.with_blocks_alone(config)
    if init_from is not None:
        _require_same_architecture(config, init_from)
    _require_effects(config, values)
    return config, images


def _concerns_other_blocks(values: Mapping[str, str], ablation: str | None) -> bool:
    """Whether flags say which part of a QC network trains, or set what counts only where other blocks train as well."""
    told = ("train_degrad_only", "train_all", "loss.distill_weight", "loss.distill_norm")
    return ablation is not None or any(field in values for field in told)


def _require_effects(config: TrainConfig, values: Mapping[str, str]) -> None:
    """Raise UserError where a field was set that changes nothing, and where augmentation is asked for that does not."""
    flags = {field: f"--{flag.replace('_', '-')}" for flag, fields in FIELDS.items() for field in fields}
    for field, reason in without_effect(config).items():
        if values.get(field, "false") != "false":
            name = flags.get(field, f"--set {field}")
            value = values[field].strip('"')
            raise UserError(f"{name}={value} has no effect with {reason}; leave it out, or change the other")
    if config.augment.mode == "fixed" and config.augment.p == 0:
        raise UserError("--aug=fixed augments nothing with --aug-p=0; add for example --aug-p=0.2, or give --aug=none")


def _require_same_architecture(config: TrainConfig, init_from: str) -> None:
    """Raise UserError when a flag gives the networks another shape than those that they start from."""
    from torch_utils.checkpoint import read_header

    header = read_header(init_from)
    stored = from_dict(GeneratorConfig, header["generator"])
    as_stored = dataclasses.replace(config.generator, precision=stored.precision)
    if stored.quality is None:
        as_stored = dataclasses.replace(as_stored, quality=None)
    elif not config.train_degrad_only:
        raise UserError(
            f"{init_from} is a QC network already, and only its DegradBlocks can be trained on; add --degrad-only, or "
            "start from a network of --mode=base"
        )
    assert config.data.resolution is not None, "the data have been read"
    stored = _grown(stored, header["images"]["resolution"], config.mode, config.data.resolution)
    quality, wanted_quality = stored.quality, as_stored.quality
    if quality is not None and wanted_quality is not None and wanted_quality.variant in CONTINUED_BY[quality.variant]:
        stored = dataclasses.replace(stored, quality=dataclasses.replace(quality, variant=wanted_quality.variant))
    changes = differences(stored, as_stored)
    for name, value in _shape(header).items():
        wanted = getattr(config.discriminator, name)
        if wanted != value:
            changes.append(f"discriminator.{name}: {value} -> {wanted}")
    if changes:
        raise UserError(f"{init_from} has another architecture ({'; '.join(changes)}); leave these fields as they are")


def _cure_of_format(base: Generator, images: ImageFormat) -> str:
    """Return what to do about data of another form than the network's."""
    differs_in_labels_only = (base.img_resolution, base.img_channels) == (images.resolution, images.channels)
    if differs_in_labels_only and 0 in (base.c_dim, images.c_dim):
        return "leave out --cond" if base.c_dim == 0 else "give --cond, or choose another network"
    return "convert the data with dataset_tool.py or choose another network"


def _start_from(config: TrainConfig, mode: str, init_from: str, images: ImageFormat) -> TrainConfig:
    """Return `config` with the architecture of the network that it starts from."""
    from networks.files import load_generator

    base, header = load_generator(init_from)
    side = (
        images.resolution if _grows(base.config, base.img_resolution, mode, images.resolution) else base.img_resolution
    )
    if (side, base.img_channels, base.c_dim) != (images.resolution, images.channels, images.c_dim):
        raise UserError(
            f"{init_from} makes {base.img_resolution}x{base.img_resolution} images with "
            f"{counted(base.img_channels, 'channel')} and labels of width {base.c_dim}, the data has "
            f"{images.resolution}x{images.resolution}, {images.channels} and {images.c_dim}; "
            f"{_cure_of_format(base, images)}"
        )
    if mode == "qc" and base.q_dim == 0 and header.get("degradation"):
        raise UserError(
            f"{init_from} was trained on degraded images ({header['degradation']}), and a QC network keeps the sharp "
            "images of its base network; start from one that was trained without --degradation"
        )
    config = presets.as_transfer(presets.as_creps(config) if base.config.kind == "creps" else config)
    config = with_overrides(config, {"data.subject": json.dumps(header.get("subject") or "")})
    stored = with_overrides(config, {f"discriminator.{k}": json.dumps(v) for k, v in _shape(header).items()})
    if mode == "qc":
        return presets.as_qc(stored, init_from, base.config)
    generator = _grown(base.config, base.img_resolution, mode, images.resolution)
    generator = dataclasses.replace(generator, precision=config.generator.precision)
    return dataclasses.replace(stored, init_from=init_from, generator=generator)


def _grows(stored: GeneratorConfig, side: int, mode: str, resolution: int) -> bool:
    """Whether a network of images of this side can go on with those of the data because it knows no grid.

    Its coordinates become denser, and its blocks stay (CREPS, supplement 1.2). In mode qc the teacher has one size.
    """
    return stored.creps is not None and mode == "base" and resolution > side


def _grown(stored: GeneratorConfig, side: int, mode: str, resolution: int) -> GeneratorConfig:
    """Return the configuration with which a network of images of this side goes on with those of the data."""
    if stored.creps is None or not _grows(stored, side, mode, resolution):
        return stored
    return dataclasses.replace(
        stored, creps=dataclasses.replace(stored.creps, last_block=stored.creps.last_block or side)
    )


def _shape(header: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the stored discriminator that its weights depend on; none where there is none."""
    from networks.files import describes_discriminator

    if not describes_discriminator(header):
        return {}
    names = ("channel_base", "channel_max", "architecture", "mapping_layers", "mbstd_channels")
    return {name: header["discriminator"][name] for name in names}


def _parse_override(text: str) -> tuple[str, str]:
    """Split the argument of --set into field and value; raise UserError for fields that have a flag of their own."""
    name, value = parse_assignment(text)
    if name in ("mode", "init_from"):  # the architecture depends on them, so they come before all fields
        raise UserError(f"--set {text} comes too late; write --{name.replace('_', '-')}={value}")
    return name, value


if __name__ == "__main__":
    main()
