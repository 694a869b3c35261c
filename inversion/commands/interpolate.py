"""The command `interpolate`: what lies between the codes of two photos, or of the mean image and a photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, counted
from dnnlib.flags import PATH
from inversion.commands.options import (
    InverterFlags,
    check_codes,
    check_output,
    codes_option,
    network_options,
    photo_sections,
)

if TYPE_CHECKING:
    from inversion.mixing import Part

PARTS: dict[str, Part] = {"style": "style", "space": "space", "padding": "space", "both": "both"}
STEPS = {".png": 7, ".mp4": 60}  # default number of images, by the ending of the result


@commands.command(
    "interpolate", sections=photo_sections("part", "start", "count", "fps"), former={"--steps": "--count"}
)
@click.argument("photos", type=PATH, nargs=-1, required=True, metavar="PHOTO...")
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The result: .png (a strip) or .mp4.")
@network_options
@codes_option
@click.option(
    "--part",
    type=click.Choice(list(PARTS)),
    default="both",
    help="What changes: style (w), space (paddings and features; also called padding), or both.",
)
@click.option("--from", "start", type=click.Choice(["mean"]), help="Start at the mean image; then give one photo.")
@click.option("--count", type=click.IntRange(min=2), help="Number of images.  [default: 7 of a strip, 60 of a video]")
@click.option("--fps", type=click.IntRange(1, 240), help="Frames a second of a video.  [default: 30]")
@one_sentence_errors
def interpolate_command(
    photos: tuple[str, ...],
    output: str,
    inverting: InverterFlags,
    align: str | None,
    codes: str | None,
    part: str,
    start: str | None,
    count: int | None,
    fps: int | None,
) -> None:
    """Go from one photo to another, or from the mean image to a photo, in sharp images; the rest is the start's.

    Paddings and features tell where things are: with --part=space pose and contour move while the style stays, with
    --part=style the other way round. From the mean image, paddings start at the network's own. Of several faces
    in a photo the largest is taken.

    \b
    python invert.py interpolate a.jpg b.jpg --network=qc.safetensors --part=style -o strip.png
    python invert.py interpolate a.jpg --from=mean --part=space --network=qc.safetensors -o pose.mp4
    """
    from images.figures import check_grid_size, labelled_grid
    from images.sheets import save_png
    from images.video.writer import write_mp4
    from inversion.commands.building import make_inverter, make_reader
    from inversion.mixing import mean_codes
    from inversion.photos.encoded import encode_photos, require_other_file, usable
    from inversion.photos.mixed import images_between
    from inversion.photos.reader import ALL

    wanted = 1 if start else 2
    if len(photos) != wanted:
        words = "one photo with --from=mean" if start else "two photos"
        raise UserError(f"{words} must be given, not {len(photos)}; correct that")
    path = check_output(output)
    if path.suffix.lower() not in STEPS:
        raise UserError(f"--output={output} ends neither in .png nor in .mp4; name it {path.stem}.png")
    if fps is not None and path.suffix.lower() != ".mp4":
        raise UserError(f"--fps={fps} belongs to a video; name the result {path.stem}.mp4, or leave it out")
    require_other_file(output, photos)
    check_codes(codes)
    inverter = make_inverter(inverting, None, needs_quality=False)
    count = count or STEPS[path.suffix.lower()]
    is_strip = path.suffix.lower() == ".png"
    if is_strip:
        check_grid_size(1, count + len(photos), inverter.G.img_resolution)
    reader = make_reader(align, inverter, ALL)
    encoded = [usable(encode_photos([Path(photo)], Path(photo), inverter, reader, codes))[0] for photo in photos]
    ends = [mean_codes(inverter.G), encoded[0].latents] if start else [photo.latents for photo in encoded]
    images = images_between(inverter, ends[0].sharp(), ends[1].sharp(), PARTS[part], count)
    if not is_strip:
        write_mp4(path, images, fps or 30)
    else:
        shares = {f"{100 * index / (count - 1):.0f} %": image for index, image in enumerate(images)}
        before, after = ([], encoded) if start else (encoded[:1], encoded[1:])
        labels = [*(photo.name for photo in before), *shares, *(photo.name for photo in after)]
        tiles = [*(photo.image for photo in before), *shares.values(), *(photo.image for photo in after)]
        save_png(path, labelled_grid(np.stack(tiles)[None], [""], labels))
    click.echo(f"{output}: {counted(count, 'image')}")
