"""The commands that make tables of inverted photos: `restoration`, `inversion`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import prepare_directory
from dnnlib.flags import PATH, require_effect
from dnnlib.remote.locations import NetworkFile
from evaluation.choices import METHODS, TRACKS
from evaluation.commands.table_flags import (
    FORMER,
    SECTIONS,
    TableFlags,
    encoder_option,
    open_photos,
    publish_table,
    table_options,
)
from inversion.commands.options import check_output, fidelity_option

if TYPE_CHECKING:
    from inversion.inverter import Inverter

STAGES = ("encoder", "projector", "quality", "tuning")  # of an inversion


@commands.command("restoration", sections=SECTIONS, former=FORMER)
@table_options
@fidelity_option
@click.option(
    "--method",
    "methods",
    type=click.Choice(list(METHODS), case_sensitive=False),
    multiple=True,
    help="Method, may be repeated.  [default: encoder where there is one, else projector+PTI]",
)
@click.option(
    "--track",
    "tracks",
    type=click.Choice(TRACKS),
    multiple=True,
    default=TRACKS,
    help="Kind of degradation, may be repeated.",
)
@click.option("--sheet", type=click.IntRange(min=0), default=16, help="Number of photos in each sheet; 0: no sheets.")
@click.option("--pristine", type=PATH, metavar="FILE", help="NIQE's model, by fit-niqe.  [default: the published one]")
@one_sentence_errors
def restoration_command(
    flags: TableFlags, methods: tuple[str, ...], tracks: tuple[str, ...], sheet: int, pristine: str | None
) -> None:
    """Table 2 of the paper: restore photos that were blurred, shrunk, made noisy, compressed, or several of these.

    Beside the table there is a sheet for each track and method. The same command again goes on after the last track
    and method that was finished.

    \b
    python calc_metrics.py restoration --network=qc.safetensors --data=cats256-val.zip --count=100 -o tables
    python calc_metrics.py restoration --network=qc.safetensors --encoder=encoder.safetensors --data=cats256-val.zip \\
        --method=encoder --method=encoder+PTI
    """
    from evaluation.tables.restoration import RestorationMeasures, RestorationOptions, restoration_table
    from inversion.encoders.files import find_encoder
    from torch_utils.precision import with_float64

    prepare_directory(flags.outdir)
    photos = flags.photos
    encoder = flags.encoder or find_encoder(flags.network)
    methods = tuple(dict.fromkeys(methods)) or ("projector+PTI" if encoder is None else "encoder",)
    _check_methods(flags, methods, has_encoder=encoder is not None)
    inverters = {method: _method_inverter(flags, method) for method in methods}
    first = next(iter(inverters.values()))
    measures = RestorationMeasures(flags.weights, with_float64(first.device), first.G.img_resolution, pristine)
    options = RestorationOptions(tuple(dict.fromkeys(tracks)), sheet)
    publish_table(restoration_table(inverters, photos, options, measures, flags.outdir), flags.outdir)


@commands.command("inversion", sections=SECTIONS, former=FORMER)
@functools.partial(table_options, without=encoder_option)
@click.option(
    "--encoder",
    "encoders",
    type=NetworkFile(),
    multiple=True,
    help="Encoder to be compared with others, may be repeated.  [default: the table of Section 4.3]",
)
@click.option("--degradation", default="none", help="With --encoder: recipe that degrades the photos, or none.")
@click.option("--sheet", type=PATH, metavar="FILE", help="With --encoder: figure of photos and reconstructions, .png.")
@one_sentence_errors
def inversion_command(flags: TableFlags, encoders: tuple[str, ...], degradation: str, sheet: str | None) -> None:
    """Section 4.3 of the paper: how close reconstructions come to photos with several degradations.

    With --encoder, any encoders over any photos, of which the middle squares are taken: SSIM, PSNR, MSE, LPIPS (or
    pd_cifar), ID, Frechet distance and seconds, a row for each encoder; without tuning unless --tuning-steps is given.

    \b
    python calc_metrics.py inversion --network=qc.safetensors --data=cats256-val.zip --count=100
    python calc_metrics.py inversion --network=qc.safetensors --encoder=psp.safetensors \\
        --encoder=feature-style.safetensors --data=photos --sheet=encoders.png
    """
    from evaluation.photo_sets import SquarePhotos
    from evaluation.tables.encoders import EncoderMeasures, encoders_sheet, encoders_table
    from evaluation.tables.inversion import inversion_table
    from images.sheets import save_png
    from inversion.photos.encoded import names_of
    from torch_utils.precision import with_float64

    if not encoders:
        require_effect(["degradation", "sheet"], "without --encoder; add it, or leave it out")
        inverter, photos = open_photos(flags)
        publish_table(inversion_table(inverter, photos, flags.outdir), flags.outdir)
        return
    if sheet is not None and check_output(sheet, "--sheet").suffix.lower() != ".png":
        raise UserError(f"--sheet={sheet} does not end in .png; name it {Path(sheet).stem}.png")
    prepare_directory(flags.outdir)
    flags = dataclasses.replace(flags, tuning_steps=flags.tuning_steps or 0)
    inverters = {
        name: dataclasses.replace(flags, encoder=encoder).inverter(needs_quality=False)
        for name, encoder in zip(names_of([Path(encoder) for encoder in encoders]), encoders, strict=True)
    }
    first = next(iter(inverters.values()))
    squares = SquarePhotos(flags.photos, None if degradation == "none" else degradation, first.G)
    measures = EncoderMeasures(flags.weights, with_float64(first.device))
    publish_table(encoders_table(inverters, squares, measures, flags.outdir), flags.outdir)
    if sheet is not None:
        save_png(sheet, encoders_sheet(inverters, squares))
        click.echo(f"{sheet} shows the photos and their reconstructions")


def _check_methods(flags: TableFlags, methods: Iterable[str], has_encoder: bool) -> None:
    """Raise UserError for a method that lacks its encoder, and for a flag that has no effect on any of the methods."""
    stages = {stage for method in methods for stage in _stages(method)}
    named = " and ".join(f"--method={method}" for method in methods)
    if "encoder" in stages and not has_encoder:
        raise UserError(f"{named} needs an encoder, and there is none beside {flags.network}; give --encoder=FILE")
    given = {
        "--encoder": ("encoder", flags.encoder),
        "--projector-steps": ("projector", flags.steps),
        "--space": ("projector", flags.space),
        "--tuning-steps": ("tuning", flags.tuning_steps),
        **{f"--set {text}": (text.partition(".")[0], text) for text in flags.overrides},
    }
    for flag, (stage, value) in given.items():
        if stage in STAGES and stage not in stages and value is not None:
            raise UserError(f"{flag} has no effect with {named}; leave it out, or take a method with {stage}")


def _method_inverter(flags: TableFlags, method: str) -> Inverter:
    """Return the inverter of a method of Table 2, from the flags of the method's stages."""
    stages = _stages(method)
    unused = tuple(f"{stage}." for stage in STAGES if stage not in stages)
    own = dataclasses.replace(
        flags,
        encoder=flags.encoder if "encoder" in stages else None,
        no_encoder="encoder" not in stages,
        steps=flags.steps if "projector" in stages else 0,
        space=flags.space if "projector" in stages else None,
        tuning_steps=flags.tuning_steps if "tuning" in stages else 0,
        overrides=tuple(text for text in flags.overrides if not text.startswith(unused)),
    )
    inverter = own.inverter()
    if "tuning" in stages and inverter.options.tuning is None:
        raise UserError(f"--method={method} tunes the generator, and that in 0 steps; give more, or leave out +PTI")
    return inverter


def _stages(method: str) -> list[str]:
    """Return the stages of a method: encoder (and the search for q) or projector, and tuning."""
    by_encoder, tunes = METHODS[method]
    return (["encoder", "quality"] if by_encoder else ["projector"]) + ["tuning"] * tunes
