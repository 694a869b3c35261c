"""The command `mix`: the style of one photo on the space of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import tqdm

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import prepare_directory
from dnnlib.flags import PATH
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    check_codes,
    codes_option,
    finish_together,
    network_options,
    photo_sections,
)

if TYPE_CHECKING:
    from inversion.photos.mixed import Quality


@commands.command("mix", sections=photo_sections("layers", "quality"), former=FORMER)
@click.option("--style", type=PATH, required=True, metavar="PATH", help="Photo, or folder, whose style is taken.")
@click.option("--content", type=PATH, required=True, metavar="PATH", help="Photo, or folder, that gets the styles.")
@click.option("-o", "--outdir", type=PATH, required=True, metavar="DIR", help="Folder of the results.")
@network_options
@codes_option
@click.option(
    "--layers",
    metavar="FIRST-LAST",
    help="Numbers of the ws that come from the style.  [default: all; the finer half after an encoder of w alone]",
)
@click.option(
    "--quality", type=click.Choice(["sharp", "own"]), default="sharp", help="Quality: sharp, or the content photo's."
)
@one_sentence_errors
def mix_command(
    style: str,
    content: str,
    outdir: str,
    inverting: InverterFlags,
    align: str | None,
    codes: str | None,
    layers: str | None,
    quality: Quality,
) -> None:
    """Show photos in the style of others: CONTENT+STYLE.png for each pair, and sheet.png with all of them.

    After an encoder of kind feature-style the content's features meet the style's w (style mixing), after one of kind
    padding its paddings do (face blending: contour, pose and background of the content). After an encoder of w alone
    the style gives the finer layers. Photos that cannot be read, or have no face for --align, are skipped; of several
    faces the largest is taken.

    \b
    python invert.py mix --network=qc.safetensors --encoder=encoder.safetensors --style=a.jpg --content=b.jpg -o mixed
    python invert.py mix --network=qc.safetensors --style=styles --content=photos --layers=6-11 -o mixed
    """
    from images.figures import check_grid_size
    from images.photos import photo_files
    from images.sheets import save_png
    from inversion.commands.building import make_inverter, make_reader
    from inversion.directions.direction import parse_layers
    from inversion.photos.encoded import encode_photos, errors_of, require_other_folder, usable
    from inversion.photos.mixed import mixed_images, mixing_sheet
    from inversion.photos.reader import ALL

    require_other_folder(outdir, [style, content])
    sides = [photo_files(path) for path in (style, content)]
    check_codes(codes)
    inverter = make_inverter(inverting, None, needs_quality=False)
    if quality == "own" and inverter.G.q_dim == 0:
        raise UserError(f"--quality=own has no effect, as {inverting.network} is plain; leave it out")
    check_grid_size(len(sides[1]) + 1, len(sides[0]) + 1, inverter.G.img_resolution)
    chosen = None if layers is None else (parse_layers(layers, inverter.G.num_ws) or range(inverter.G.num_ws))
    reader = make_reader(align, inverter, ALL)
    folder = prepare_directory(outdir)
    found = [
        encode_photos(files, Path(path), inverter, reader, codes)
        for files, path in zip(sides, (style, content), strict=True)
    ]
    styles, contents = map(usable, found)
    rows = []
    for photo in tqdm.tqdm(contents, desc="images", unit="photo", disable=None):
        rows.append(mixed_images(inverter, styles, photo.latents, chosen, quality))
        for other, image in zip(styles, rows[-1], strict=True):
            save_png(folder / f"{photo.name}+{other.name}.png", image)
    save_png(folder / "sheet.png", mixing_sheet(styles, contents, np.stack(rows)))
    made = f"{len(styles) * len(contents)} mixed, all in {folder / 'sheet.png'}"
    finish_together(made, [error for photos in found for error in errors_of(photos)])
