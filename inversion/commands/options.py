"""The flags that the commands on photos share, and the inverter, the reader and the job that are made of them."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import tqdm

from dnnlib.errors import UserError
from dnnlib.flags import PATH, Command, Decorator, LocalPath, add_options, gather_flags, processes_option
from dnnlib.parsing import existing
from dnnlib.remote.locations import NetworkFile
from inversion.photos.tasks import Pasting, PhotoJob
from inversion.tuning_options import TUNINGS
from metrics.weights.option import weights_dir_option

if TYPE_CHECKING:
    from inversion.photos.jobs import Summary

Number = TypeVar("Number", float, float | None, tuple[float, ...])


@dataclass(frozen=True)
class InverterFlags:
    """The flags that say how photos are inverted, as they were given; None leaves a choice to the program.

    Attributes:
        network: network file that photos are inverted into.
        encoder: encoder file for that network; None: the one beside it, if there is one.
        no_encoder: whether the projector works alone.
        steps: steps of the projector.
        space: latent space of the projector, `w` or `w+`.
        perceptual: name of the perceptual distance.
        overrides: arguments of --set.
        weights_dir: directory of published weights.
        device: name of the device.
        fidelity: how much restored photos keep of the photo.
    """

    network: str
    encoder: str | None = None
    no_encoder: bool = False
    steps: int | None = None
    space: str | None = None
    perceptual: str = "cifar"
    overrides: Sequence[str] = ()
    weights_dir: str | None = None
    device: str | None = None
    fidelity: float | None = None


@dataclass(frozen=True)
class TuningFlags:
    """The flags of pivotal tuning, as they were given.

    Attributes:
        tuning: name of the settings that flags change; None: the default ones.
        tuning_steps: largest number of steps; 0 turns tuning off.
        stop_psnr: PSNR in dB at which tuning ends.
    """

    tuning: str | None = None
    tuning_steps: int | None = None
    stop_psnr: float | None = None


INPUTS = ("source", "given", "photos", "style", "content")  # parameters that name photos
FORMER = {"--steps": "--projector-steps"}  # spellings, of all commands that take an inverter


def check_finite(context: click.Context, parameter: click.Parameter, value: Number) -> Number:
    """Raise click.BadParameter for nan and the infinities, which click's ranges let pass."""
    for number in value if isinstance(value, tuple) else (value,):
        if number is not None and not math.isfinite(number):
            raise click.BadParameter(f"{number} is not finite.")
    return value


steps_option = click.option(
    "--projector-steps",
    "steps",
    type=click.IntRange(min=0),
    help="Steps of the projector.  [default: 150; 0 after an encoder]",
)
space_option = click.option(
    "--space", type=click.Choice(["w", "w+"]), help="Latent space of the projector.  [default: w+]"
)
_INVERTER = [
    click.option("--network", type=NetworkFile(), required=True, help="Network that photos are inverted into."),
    click.option("--encoder", type=NetworkFile(), help="Encoder for this network.  [default: the one in its folder]"),
    click.option("--no-encoder", is_flag=True, help="Use no encoder: the projector searches from the mean image."),
    steps_option,
    space_option,
    click.option(
        "--perceptual", default="cifar", help="Perceptual distance: cifar, lpips_alex, lpips_vgg or lpips_squeeze."
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Any option of a stage: projector.lr=0.05."
    ),
    weights_dir_option,
    click.option("--device", help="cuda, mps or cpu.  [default: the best there is]"),
    click.option(
        "--align",
        type=LocalPath(may_be_empty=True),
        metavar="DETECTOR",
        help="Cut out the face: cat, human, or a YuNet .onnx file.",
    ),
    click.option("--no-align", "align", flag_value="", help="Cut out the middle square.  [default]"),
]
_TUNING = [
    click.option(
        "--tuning",
        type=click.Choice(list(TUNINGS)),
        help="Settings of pivotal tuning: default, or those published, which take 500 steps.",
    ),
    click.option(
        "--tuning-steps",
        type=click.IntRange(min=0),
        help="Most steps of pivotal tuning; 0: none.  [default: the settings'; of restore 0 after an encoder]",
    ),
    click.option("--stop-psnr", type=float, help="PSNR at which tuning ends.  [default: the settings', 30 dB]"),
]
codes_option = click.option(
    "--codes", type=PATH, metavar="DIR", help="Folder of codes by an earlier command, to be used again."
)
_JOB = [
    click.option(
        "-i",
        "--input",
        "given",
        type=PATH,
        multiple=True,
        metavar="PATH",
        help="A photo, or a folder of photos; may be repeated.",
    ),
    click.argument("photos", type=PATH, nargs=-1),
    click.option("-o", "--outdir", type=PATH, required=True, metavar="DIR", help="Folder of the results."),
    codes_option,
    click.option(
        "--faces",
        type=click.Choice(["all", "largest"]),
        default="all",
        help="With --align: all faces of a photo, PHOTO.png, PHOTO-face2.png, ..., or the largest alone.",
    ),
    click.option("--batch", type=click.IntRange(min=1), default=4, help="Photos inverted at once."),
    processes_option,
]


def photo_sections(*own: str) -> dict[str, tuple[str, ...]]:
    """Return the sections of the help of a command on photos; `own` are the parameters that say what it does."""
    return {
        "Photos and results": (*INPUTS, "output", "outdir", "pastes", "upscale", "align", "faces", "codes"),
        "What is done": own,
        "Network and machine": ("network", "encoder", "no_encoder", "gpus", "device", "weights_dir"),
        "Expert: the search for codes, and tuning": (
            *("steps", "space", "perceptual", "tuning", "tuning_steps", "stop_psnr", "batch", "overrides"),
        ),
    }


_PASTING = [
    click.option("--paste-back", "pastes", is_flag=True, help="Also write the whole photo with the result in it."),
    click.option(
        "--upscale",
        type=click.FloatRange(1 / 16, 16),
        callback=check_finite,
        metavar="FACTOR",
        help="--paste-back at FACTOR times the photo's width and height; all around the result by Lanczos.",
    ),
]
fidelity_option = click.option(
    "--fidelity",
    type=float,
    help="How much is kept of the photo: 0 the network's image, 1 the photo itself.  [default: 0.5]",
)


def photo_options(command: Command) -> Command:
    """Add the options of commands on photos.

    The command receives them as `job: PhotoJob`, `inverting: InverterFlags`, `tuning: TuningFlags` and
    `align: str | None`.
    """
    command = _with_sources(gather_flags("job", PhotoJob)(gather_flags("tuning", TuningFlags)(command)))
    return add_options(gather_flags("inverting", InverterFlags)(command), _JOB + _INVERTER + _TUNING)


def paste_options(command: Command) -> Command:
    """Add the options that paste results back into photos; the command receives them as `pasting: Pasting`."""
    return add_options(gather_flags("pasting", Pasting)(command), _PASTING)


def tuning_options(command: Command) -> Command:
    """Add the options of pivotal tuning; the command receives them as `tuning: TuningFlags`."""
    return add_options(gather_flags("tuning", TuningFlags)(command), _TUNING)


def _with_sources(command: Command) -> Command:
    """Let a command receive as `sources` the photos of -i and those that are given without."""

    @functools.wraps(command)
    def gathered(*args: Any, given: tuple[str, ...], photos: tuple[str, ...], **flags: Any) -> None:
        if not given and not photos:
            raise click.UsageError("No photos are given; write -i PATH, or PHOTOS at the end.")
        command(*args, sources=(*given, *photos), **flags)

    return gathered


def network_options(command: Command) -> Command:
    """Add the options of commands that invert without tuning.

    The command receives them as `inverting: InverterFlags` and `align: str | None`.
    """
    return add_options(gather_flags("inverting", InverterFlags)(command), _INVERTER)


def network_options_but(*others: Decorator) -> Decorator:
    """Return `network_options` without some options, whose names mean another thing in a command.

    The projector's are then set by --set projector.FIELD=VALUE alone.
    """
    options = [option for option in _INVERTER if option not in others]
    return lambda command: add_options(gather_flags("inverting", InverterFlags)(command), options)


def check_codes(codes: str | None) -> None:
    """Raise UserError when the folder that --codes names does not exist."""
    if codes is not None:
        existing(codes, "folder of codes")


def check_output(output: str, flag: str = "--output") -> Path:
    """Return the path of a result; raise UserError when its folder is not there, or cannot be written to."""
    path = Path(output)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"the folder of {flag}={output} is not there, or cannot be written to; name another")
    return path


def finish(summary: Summary | None, verb: str, results: str | os.PathLike) -> None:
    """Print the summary of a job, where this process has it, and leave with its exit code; see `Summary.report`."""
    if summary is None:
        return
    click.echo(summary.report(verb, results))
    if summary.exit_code:
        sys.exit(summary.exit_code)


def finish_together(text: str, skipped: Sequence[UserError]) -> None:
    """Print what was made of several photos together, and the photos that were skipped; with those, leave with 1."""
    sentences = list(dict.fromkeys(map(str, skipped)))
    click.echo("\n".join([f"{text}; {len(sentences)} skipped", *sentences] if sentences else [text]))
    if sentences:
        sys.exit(1)


def say(text: str) -> None:
    """Print a line to standard error, above the bar of the job."""
    tqdm.tqdm.write(text, file=sys.stderr)
