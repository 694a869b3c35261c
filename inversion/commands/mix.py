"""The command `mix`: the style of one photo on the space of another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click
import numpy as np
import torch
import tqdm

from dnnlib.cli import wrong_use_errors
from dnnlib.errors import UserError
from dnnlib.files import prepare_directory
from dnnlib.flags import PATH, SETTINGS
from generation.rendering import synthesize
from images.figures import PAPER, check_grid_size, labelled_grid
from images.photos import from_network, photo_files
from images.sheets import save_png
from inversion.commands.options import (
    InverterFlags,
    check_codes,
    codes_option,
    make_inverter,
    make_reader,
    network_options,
)
from inversion.directions.direction import parse_layers
from inversion.inverter import Inverter
from inversion.mixing import has_space, mix
from inversion.photos.encoded import EncodedPhoto, encode_photos, require_other_folder
from networks.latents import Latents

Quality = Literal["sharp", "own"]


@click.command("mix", context_settings=SETTINGS)
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
@wrong_use_errors
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
    the style gives the finer layers.

    \b
    python invert.py mix --network=qc.safetensors --encoder=encoder.safetensors --style=a.jpg --content=b.jpg -o mixed
    python invert.py mix --network=qc.safetensors --style=styles --content=photos --layers=6-11 -o mixed
    """
    require_other_folder(outdir, [style, content])
    sides = [photo_files(path) for path in (style, content)]
    check_codes(codes)
    inverter = make_inverter(inverting, None, needs_quality=False)
    if quality == "own" and inverter.G.q_dim == 0:
        raise UserError(f"--quality=own has no effect, as {inverting.network} is plain; leave it out")
    check_grid_size(len(sides[1]) + 1, len(sides[0]) + 1, inverter.G.img_resolution)
    chosen = None if layers is None else (parse_layers(layers, inverter.G.num_ws) or range(inverter.G.num_ws))
    reader = make_reader(align, inverter)
    folder = prepare_directory(outdir)
    styles, contents = (
        encode_photos(files, Path(path), inverter, reader, codes)
        for files, path in zip(sides, (style, content), strict=True)
    )
    rows = []
    for photo in tqdm.tqdm(contents, desc="images", unit="photo", disable=None):
        rows.append(mixed_images(inverter, styles, photo.latents, chosen, quality))
        for other, image in zip(styles, rows[-1], strict=True):
            save_png(folder / f"{photo.name}+{other.name}.png", image)
    save_png(folder / "sheet.png", mixing_sheet(styles, contents, np.stack(rows)))
    click.echo(f"{len(styles) * len(contents)} mixed, all in {folder / 'sheet.png'}")


@torch.no_grad()
def mixed_images(
    inverter: Inverter, styles: Sequence[EncodedPhoto], content: Latents, layers: Sequence[int] | None, quality: Quality
) -> np.ndarray:
    """Return a photo's content in each style, uint8 `[styles, R, R, 3]`; layers None: as its codes suggest."""
    num_ws = inverter.G.num_ws
    if layers is None:
        layers = range(0 if has_space(content) else num_ws // 2, num_ws)
    content = content if quality == "own" else content.sharp()
    images = [synthesize(inverter.G, mix(style.latents, content, layers)) for style in styles]  # [1, C, R, R] each
    return np.concatenate([from_network(image) for image in images])


def mixing_sheet(styles: Sequence[EncodedPhoto], contents: Sequence[EncodedPhoto], images: np.ndarray) -> np.ndarray:
    """Return a figure of images uint8 `[contents, styles, R, R, 3]` with the photos along the edges."""
    corner = np.full_like(images[0, 0], PAPER)
    top = np.stack([corner, *(style.image for style in styles)])  # [1 + styles, R, R, 3]
    left = np.stack([content.image for content in contents])[:, None]  # [contents, 1, R, R, 3]
    grid = np.concatenate([top[None], np.concatenate([left, images], axis=1)])
    names = [["", *(photo.name for photo in photos)] for photos in (contents, styles)]
    return labelled_grid(grid, *names)
