"""The command `video`: restore or edit a clip, with one quality code and smooth content for all frames."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, counted
from dnnlib.files import real_path
from dnnlib.flags import PATH, processes_option, require_effect
from dnnlib.parsing import existing
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    check_finite,
    check_output,
    network_options,
    photo_sections,
    say,
)
from inversion.commands.yielding import yielding_of, yielding_option

if TYPE_CHECKING:
    import numpy as np

    from images.video.reader import Frame
    from torch_utils.processes.sharing import Share


@dataclass(frozen=True)
class VideoJob:
    """What becomes of a clip.

    Attributes:
        source: file of the clip.
        output: file of the result.
        keep_quality: whether the result has the clip's degradation.
        direction: file of the direction that it is edited along; None: it is not.
        strength: strength of the edit.
        yielding: how far features yield to the network's own, see `inversion.directions.following`; None: by default.
        pastes: whether the result shows whole frames.
        smooth: standard deviation in frames of the Gaussian that codes and squares are averaged with over time.
    """

    source: str
    output: str
    keep_quality: bool
    direction: str | None
    strength: float
    yielding: float | None
    pastes: bool
    smooth: float


@commands.command(
    "video", sections=photo_sections("keep_quality", "direction_path", "strength", "yielding", "smooth"), former=FORMER
)
@click.option("-i", "--input", "source", type=PATH, required=True, metavar="FILE", help="A video file.")
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The result: .mp4, .mov, .m4v or .mkv.")
@network_options
@processes_option
@click.option("--keep-quality", is_flag=True, help="Keep the clip's degradation; without, the clip is restored.")
@click.option("--direction", "direction_path", type=PATH, metavar="FILE", help="Direction to edit the clip along.")
@click.option("--strength", type=float, default=2.0, callback=check_finite, help="Strength of the edit.")
@yielding_option
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
@one_sentence_errors
def video(
    source: str,
    output: str,
    inverting: InverterFlags,
    align: str | None,
    gpus: int,
    keep_quality: bool,
    direction_path: str | None,
    strength: float,
    yielding: float | None,
    pastes: bool,
    smooth: float,
) -> None:
    """Restore or edit a clip: one quality code for all frames, content smoothed over time, the sound as it was.

    The codes are kept beside the result, OUTPUT-codes.safetensors; the same command goes on from there. Processes
    divide the frames, and one of them writes the video.

    \b
    python invert.py video --network=qc.safetensors --align=human -i clip.mp4 -o restored.mp4
    """
    from images.video.reader import check_name, read_clip
    from torch_utils.processes.sharing import divide

    if direction_path is None:
        require_effect(["strength", "yielding"], "without --direction; add it, or leave it out")
    check_name(output)
    check_output(output)
    if real_path(output) == real_path(source):
        existing(source, "video")
        raise UserError(f"--output={output} is the clip itself; name the result otherwise")
    job = VideoJob(source, output, keep_quality, direction_path, strength, yielding, pastes, smooth)
    outcome = divide(_video, gpus, inverting.device, job, inverting, align)
    if outcome is None:
        return
    frames = sum(outcome.results)
    if frames == 0:  # the first process has died as the last
        raise UserError(outcome.losses[0].reason, "the same command goes on from the codes that were found")
    if not read_clip(source).has_audio:
        click.echo(f"{source} has no sound, so the result has none")
    click.echo(f"{output}: {counted(frames, 'frame')}")


def _video(share: Share, job: VideoJob, inverting: InverterFlags, align: str | None) -> int:
    """Do this process's part of a clip; return the number of frames that it has written."""
    from images.video.reader import read_clip, write_clip
    from inversion.commands.building import make_direction, make_inverter, make_reader, on_share
    from inversion.photos.notes import note_on_size
    from inversion.video.clip_inversion import ClipOptions, clip_codes, clip_squares
    from inversion.video.frames import Composition, write_alone, write_divided
    from inversion.video.rendering import render_codes, render_spans

    path = Path(job.output)
    inverter = make_inverter(on_share(inverting, share), None, needs_quality=not job.keep_quality)
    yielding = yielding_of(job.yielding, inverter)
    reader = make_reader(align, inverter)
    direction = None if job.direction is None else make_direction(job.direction, inverter)
    clip = read_clip(job.source)
    squares = clip_squares(clip, reader, job.smooth, share)
    if share.rank == 0:
        for note in note_on_size(statistics.median(square.side for square in squares), inverter.G.img_resolution):
            say(f"{job.source}: {note}")
    codes_path = path.with_name(f"{path.stem}-codes.safetensors")
    codes = clip_codes(clip, squares, inverter, reader, ClipOptions(job.smooth), codes_path, share)
    codes = codes if job.keep_quality else codes.sharp()

    def render(spans: Iterable[range]) -> Iterator[np.ndarray]:
        return render_codes(inverter, codes, spans, direction, job.strength, yielding)

    def write(frames: Iterator[Frame]) -> int:
        return write_clip(path, frames, clip)

    composition, spans = Composition(clip, squares, job.pastes), render_spans(len(codes))
    if share.size == 1:
        return write_alone(composition, spans, render, write, share)
    return write_divided(composition, spans, render, write, path, share)
