"""The command that makes tables of inverted photos: `inversion`."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, require_effect
from dnnlib.remote.locations import NetworkFile
from evaluation.commands.options import publish_table
from evaluation.commands.table_flags import (
    FORMER,
    SECTIONS,
    TableFlags,
    base_inverter,
    base_option,
    encoder_option,
    open_photos,
    table_options,
)
from inversion.commands.options import check_output


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
@base_option
@one_sentence_errors
def inversion_command(
    flags: TableFlags, encoders: tuple[str, ...], degradation: str, sheet: str | None, base: str | None
) -> None:
    """Section 4.3 of the paper: how close reconstructions come to photos with several degradations.

    With --encoder, any encoders over any photos, of which the middle squares are taken: SSIM, PSNR, MSE, LPIPS (or
    pd_cifar), ID, Frechet distance and seconds, a row for each encoder; without tuning unless --tuning-steps is given.

    \b
    python calc_metrics.py inversion --network=qc.safetensors --base=base.safetensors --data=cats256-val.zip --count=100
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
        plain = None if base is None else base_inverter(flags, base, inverter)
        publish_table(inversion_table(inverter, photos, flags.parts_folder(), plain), flags.outdir)
        return
    require_effect(["base"], "with --encoder, which compares encoders; leave one of them out")
    if sheet is not None and check_output(sheet, "--sheet").suffix.lower() != ".png":
        raise UserError(f"--sheet={sheet} does not end in .png; name it {Path(sheet).stem}.png")
    folder = flags.parts_folder()
    flags = dataclasses.replace(flags, tuning_steps=flags.tuning_steps or 0)
    inverters = {
        name: dataclasses.replace(flags, encoder=encoder).inverter(needs_quality=False)
        for name, encoder in zip(names_of([Path(encoder) for encoder in encoders]), encoders, strict=True)
    }
    first = next(iter(inverters.values()))
    squares = SquarePhotos(flags.photos, None if degradation == "none" else degradation, first.G)
    measures = EncoderMeasures(flags.weights, with_float64(first.device))
    publish_table(encoders_table(inverters, squares, measures, folder), flags.outdir)
    if sheet is not None:
        save_png(sheet, encoders_sheet(inverters, squares))
        click.echo(f"{sheet} shows the photos and their reconstructions")
