"""The command `video`: restore, edit or degrade a clip, frame by frame but consistently."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import tqdm

from dnnlib.cli import wrong_use_errors
from dnnlib.errors import UserError
from dnnlib.files import sha256
from generation.rendering import synthesize
from images.photos import from_network
from images.video_reader import check_name, read_clip, write_clip
from inversion.commands.options import SETTINGS, finite, make_inverter, make_reader, network_options
from inversion.directions.direction import load_direction
from inversion.directions.editing import edit
from inversion.inverter import Inverter
from inversion.video.clip_inversion import ClipOptions, clip_codes, clip_squares, shown_frames
from networks.latents import Latents

RENDERED = 16  # frames in one pass through the network


@click.command("video", context_settings=SETTINGS)
@click.option("-i", "--input", "source", required=True, metavar="FILE", help="A video file.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The result: .mp4, .mov, .m4v or .mkv.")
@network_options
@click.option("--keep-quality", is_flag=True, help="Show the clip as degraded as it is; without, it is restored.")
@click.option("--direction", metavar="FILE", help="Edit along it.")
@click.option("--strength", type=float, default=2.0, callback=finite, help="Of the edit.")
@click.option("--paste-back", "pastes", is_flag=True, help="The whole frames, with the result in its place.")
@click.option(
    "--smooth", type=click.FloatRange(min=0), default=1.5, callback=finite, help="Frames that codes are averaged over."
)
@wrong_use_errors
def video(source, output, keep_quality, direction, strength, pastes, smooth, **flags):
    """Restore or edit a clip: one quality code for all frames, content smoothed over time, the sound as it was.

    The codes are kept beside the result, OUTPUT-codes.safetensors; the same command goes on from there.

    \b
    python invert.py video --network=qc.safetensors --encoder=encoder.safetensors --align=human --paste-back \\
        -i clip.mp4 -o restored.mp4
    """
    path = check_name(output)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"the folder of --output={output} is not there, or cannot be written to; name another")
    inverter = make_inverter(flags, needs_quality=not keep_quality)
    reader = make_reader(flags, inverter)
    way = None if direction is None else load_direction(direction, inverter.G, sha256(inverter.network))
    clip = read_clip(source)
    if not clip.has_audio:
        click.echo(f"{source} has no sound, so the result has none")
    if path.resolve() == Path(source).resolve():
        raise UserError(f"--output={output} is the clip itself; name the result otherwise")
    squares = clip_squares(clip, reader, smooth)
    kept = path.with_name(f"{path.stem}-codes.safetensors")
    codes = clip_codes(clip, squares, inverter, reader, ClipOptions(smooth), kept)
    if way is not None:
        codes = edit(inverter.G, codes.to(inverter.device), way, strength)
    codes = codes if keep_quality else codes.sharp()
    count = write_clip(path, shown_frames(clip, squares, rendered(inverter, codes), pastes), clip)
    click.echo(f"{output}: {count} frames")


def rendered(inverter: Inverter, codes: Latents) -> Iterator[np.ndarray]:
    """Yield the image of each row of codes, uint8 `[R, R, 3]`."""
    for start in tqdm.tqdm(range(0, len(codes), RENDERED), desc="images", unit="batch", disable=None):
        images = synthesize(inverter.G, codes[start : start + RENDERED].to(inverter.device))
        yield from from_network(images.clamp(-1, 1))
