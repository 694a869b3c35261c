"""The flags that the commands on photos share, and the inverter, the reader and the job that are made of them."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import tqdm

from dnnlib.config import with_overrides
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.flags import PATH, Command, Decorator, LocalPath, add_options, gather_flags, parse_assignment
from dnnlib.parsing import existing
from dnnlib.remote.locations import NetworkFile
from images.figures import labelled_grid
from inversion.directions.direction import AnyDirection, load_direction
from inversion.directions.editing import no_paddings
from inversion.directions.padding_direction import PaddingDirection
from inversion.encoders.files import find_encoder
from inversion.fit_quality import QualityOptions
from inversion.inverter import InversionOptions, Inverter
from inversion.photos.invert import PhotoJob
from inversion.photos.jobs import Summary
from inversion.photos.reader import PhotoReader
from inversion.projector import ProjectorOptions
from inversion.tuning_options import TUNINGS, TuningOptions
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory

ENCODER_STEPS = 0  # default of --steps where an encoder is given

Options = TypeVar("Options", ProjectorOptions, TuningOptions, QualityOptions)
Number = TypeVar("Number", float, tuple[float, ...])


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


steps_option = click.option(
    "--steps", type=click.IntRange(min=0), help="Steps of the projector.  [default: 150; 0 after an encoder]"
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
        "-i", "--input", "source", type=PATH, required=True, metavar="PATH", help="A photo, or a folder of photos."
    ),
    click.option("-o", "--outdir", type=PATH, required=True, metavar="DIR", help="Folder of the results."),
    codes_option,
    click.option("--batch", type=click.IntRange(min=1), default=4, help="Photos inverted at once."),
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
    command = gather_flags("job", PhotoJob)(gather_flags("tuning", TuningFlags)(command))
    return add_options(gather_flags("inverting", InverterFlags)(command), _JOB + _INVERTER + _TUNING)


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


def make_inverter(
    flags: InverterFlags, tuning: TuningFlags | None, needs_quality: bool, tunes_after_encoder: bool = True
) -> Inverter:
    """Return the inverter that flags ask for.

    `tuning` is None for commands that never tune; those for which an encoder's codes suffice only tune after one when
    flags of tuning are given.
    """
    encoder = choose_encoder(flags)
    if encoder is not None and not tunes_after_encoder and not _mentions_tuning(flags, tuning):
        tuning = TuningFlags(tuning_steps=0)
    steps = ENCODER_STEPS if flags.steps is None and encoder is not None else flags.steps
    values = {
        "projector.steps": steps,
        "projector.space": flags.space,
        "tuning.steps": 0 if tuning is None else tuning.tuning_steps,
        "tuning.stop_psnr": None if tuning is None else tuning.stop_psnr,
    }
    texts = {name: json.dumps(value) for name, value in values.items() if value is not None}
    stages = ("projector", "quality") if tuning is None else ("projector", "tuning", "quality")
    texts |= dict(_parse_override(text, stages) for text in flags.overrides)
    options = InversionOptions(
        encoder=encoder,
        projector=_stage_options("projector", ProjectorOptions(), texts, "--steps"),
        tuning=_stage_options("tuning", TUNINGS[(tuning and tuning.tuning) or "default"], texts, "--tuning-steps"),
        quality=_stage_options("quality", QualityOptions(), texts, "--set quality.steps"),
        perceptual=flags.perceptual,
        **({} if flags.fidelity is None else {"fidelity": flags.fidelity}),
    )
    device = best_device(flags.device)
    if device.type == "cpu":
        keep_freed_memory()
    weights = WeightsDirectory.find(flags.weights_dir)
    inverter = Inverter(flags.network, device, options, weights, needs_quality)
    for text in flags.overrides:
        if text.startswith("quality.") and not inverter.fits_quality:
            raise UserError(
                f"--set {text} has no effect: q is searched for by itself only after an encoder of w alone, without "
                "--steps; leave it out"
            )
        if text.startswith("projector.features_") and inverter.kind != "feature-style":
            raise UserError(
                f"--set {text} has no effect, as there are no features to start at; leave it out, or give an encoder "
                "of kind feature-style"
            )
    return inverter


def choose_encoder(flags: InverterFlags) -> str | None:
    """Return the encoder that flags name, or the one beside the network; None where there is neither."""
    if flags.no_encoder:
        if flags.encoder is not None:
            raise UserError("--encoder and --no-encoder contradict each other; leave one of them out")
        return None
    if flags.encoder is not None:
        return flags.encoder
    encoder = find_encoder(flags.network)
    return None if encoder is None else str(encoder)


def make_reader(align: str | None, inverter: Inverter) -> PhotoReader:
    """Return the reader that cuts photos for an inverter; `align` names the face detector, None or "" means none."""
    return PhotoReader(inverter.G, align or None)


def make_direction(path: str, inverter: Inverter, codes: str | None = None) -> AnyDirection:
    """Return the direction in a file for the codes that an inverter finds, or that the folder `codes` may have.

    Raises UserError as `load_direction` does, and for one among paddings where none are found.
    """
    direction = load_direction(path, inverter.G, sha256(inverter.network))
    if isinstance(direction, PaddingDirection) and codes is None and inverter.kind != "padding":
        raise no_paddings(direction)
    return direction


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


def finish(summary: Summary) -> None:
    """Print the summary of a job, and leave with its exit code."""
    click.echo(summary.report())
    if summary.exit_code:
        sys.exit(summary.exit_code)


def say(text: str) -> None:
    """Print a line to standard error, above the bar of the job."""
    tqdm.tqdm.write(text, file=sys.stderr)


def make_strip(images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return images uint8 `[R, R, 3]` side by side with their names above."""
    return labelled_grid(np.stack(list(images.values()))[None], [""], list(images))


def check_finite(context: click.Context, parameter: click.Parameter, value: Number) -> Number:
    """Raise click.BadParameter for nan and the infinities, which click's ranges let pass."""
    for number in value if isinstance(value, tuple) else (value,):
        if not math.isfinite(number):
            raise click.BadParameter(f"{number} is not finite.")
    return value


def _stage_options(name: str, defaults: Options, texts: Mapping[str, str], flag: str) -> Options | None:
    """Return the options of a stage; None where it takes no steps.

    Args:
        name: name of the stage.
        defaults: options of a stage without overrides.
        texts: values of all stages' options by dotted name.
        flag: flag that sets the steps, for the error.

    Raises UserError for options of a stage that takes no steps.
    """
    prefix = f"{name}."
    overrides = {path.removeprefix(prefix): text for path, text in texts.items() if path.startswith(prefix)}
    if overrides.get("steps") != "0":
        return with_overrides(defaults, overrides)
    for field in overrides:
        if field != "steps":
            raise UserError(f"{name}.{field} has no effect without steps; leave it out, or give {flag} above 0")
    return None


def _mentions_tuning(flags: InverterFlags, tuning: TuningFlags | None) -> bool:
    """Whether any flag of tuning was given."""
    return tuning != TuningFlags() or any(text.startswith("tuning.") for text in flags.overrides)


def _parse_override(text: str, stages: Sequence[str]) -> tuple[str, str]:
    """Split the argument of --set into field and value; raise UserError for a field of no stage."""
    name, value = parse_assignment(text)
    if not name.startswith(tuple(f"{stage}." for stage in stages)):
        known = " or ".join(f"{stage}.FIELD" for stage in stages)
        raise UserError(f"--set {text} is no field of the inversion; write {known}")
    return name, value
