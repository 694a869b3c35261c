"""The command `video`: restore or edit a clip, with one quality code and smooth content for all frames."""

from __future__ import annotations

import statistics

import click

from dnnlib import commands
from dnnlib.cli import wrong_use_errors
from dnnlib.errors import UserError
from dnnlib.files import real_path
from dnnlib.flags import PATH, require_effect
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    check_finite,
    check_output,
    network_options,
    photo_sections,
    say,
)


@commands.command(
    "video", sections=photo_sections("keep_quality", "direction_path", "strength", "smooth"), former=FORMER
)
@click.option("-i", "--input", "source", type=PATH, required=True, metavar="FILE", help="A video file.")
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The result: .mp4, .mov, .m4v or .mkv.")
@network_options
@click.option("--keep-quality", is_flag=True, help="Keep the clip's degradation; without, the clip is restored.")
@click.option("--direction", "direction_path", type=PATH, metavar="FILE", help="Direction to edit the clip along.")
@click.option("--strength", type=float, default=2.0, callback=check_finite, help="Strength of the edit.")
@click.option(
    "--paste-back/--no-paste-back",
    "pastes",
    default=True,
    help="Write the whole frames with the result in its place, or the result alone.",
)
@click.option(
    "--smooth",
    type=click.FloatRange(min=0),
    default=1.5,
    callback=check_finite,
    help="Standard deviation, in frames, of the Gaussian that codes are averaged with.",
)
@wrong_use_errors
def video(
    source: str,
    output: str,
    inverting: InverterFlags,
    align: str | None,
    keep_quality: bool,
    direction_path: str | None,
    strength: float,
    pastes: bool,
    smooth: float,
) -> None:
    """Restore or edit a clip: one quality code for all frames, content smoothed over time, the sound as it was.

    The codes are kept beside the result, OUTPUT-codes.safetensors; the same command goes on from there.

    \b
    python invert.py video --network=qc.safetensors --align=human -i clip.mp4 -o restored.mp4
    """
    from images.video.reader import check_name, read_clip, write_clip
    from inversion.commands.building import make_direction, make_inverter, make_reader
    from inversion.commands.restore import note_on_size
    from inversion.video.clip_inversion import ClipOptions, clip_codes, clip_squares, compose_frames
    from inversion.video.rendering import render_codes

    if direction_path is None:
        require_effect(["strength"], "without --direction; add it, or leave it out")
    path = check_name(output)
    check_output(output)
    inverter = make_inverter(inverting, None, needs_quality=not keep_quality)
    reader = make_reader(align, inverter)
    direction = None if direction_path is None else make_direction(direction_path, inverter)
    clip = read_clip(source)
    if not clip.has_audio:
        click.echo(f"{source} has no sound, so the result has none")
    if real_path(path) == real_path(source):
        raise UserError(f"--output={output} is the clip itself; name the result otherwise")
    squares = clip_squares(clip, reader, smooth)
    for note in note_on_size(statistics.median(square.side for square in squares), inverter.G.img_resolution):
        say(f"{source}: {note}")
    codes_path = path.with_name(f"{path.stem}-codes.safetensors")
    codes = clip_codes(clip, squares, inverter, reader, ClipOptions(smooth), codes_path)
    codes = codes if keep_quality else codes.sharp()
    images = render_codes(inverter, codes, direction, strength)
    count = write_clip(path, compose_frames(clip, squares, images, pastes), clip)
    click.echo(f"{output}: {count} frames")
