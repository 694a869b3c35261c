"""The options that all commands on photos share, and what they mean."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from dnnlib.config import with_overrides
from dnnlib.errors import UserError
from dnnlib.parsing import existing
from dnnlib.remote.locations import NetworkFile
from images.figures import labelled_grid
from inversion.inverter import InversionOptions, Inverter
from inversion.photos.invert import PhotoJob
from inversion.photos.jobs import Summary
from inversion.photos.reader import PhotoReader
from inversion.pivotal_tuning import TuningOptions
from inversion.projector import ProjectorOptions
from metrics.weights.directory import WeightsDirectory
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory

SETTINGS = {"show_default": True, "max_content_width": 120}
ENCODER_STEPS = 0  # of the projector, after an encoder

_NETWORK = [
    click.option("--network", type=NetworkFile(), required=True, help="The network that photos are inverted into."),
    click.option("--encoder", type=NetworkFile(), help="Of this network.  [default: the projector alone]"),
    click.option("--steps", type=click.IntRange(min=0), help="Of the projector.  [default: 150; 0 after an encoder]"),
    click.option("--space", type=click.Choice(["w", "w+"]), help="Of the projector.  [default: w+]"),
    click.option("--perceptual", default="cifar", help="Distance: cifar, lpips_alex, lpips_vgg or lpips_squeeze."),
    click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Such as projector.lr=0.05."),
    click.option("--weights-dir", metavar="DIR", help="Of published weights.  [default: $QC_STYLEGAN_WEIGHTS]"),
    click.option("--device", help="cuda, mps or cpu.  [default: the best there is]"),
    click.option("--align", metavar="DETECTOR", help="Cut out the face: cat, human, or a YuNet .onnx file."),
    click.option("--no-align", "align", flag_value="", help="Cut out the middle square.  [default]"),
]
_TUNING = [
    click.option("--tuning-steps", type=click.IntRange(min=0), help="At most; 0: none.  [default: 100]"),
    click.option("--stop-psnr", type=float, help="At which tuning ends.  [default: 30 dB]"),
]
_FILES = [
    click.option("-i", "--input", "source", required=True, metavar="PATH", help="A photo, or a folder of photos."),
    click.option("-o", "--outdir", required=True, metavar="DIR", help="Where the results go."),
    click.option("--codes", metavar="DIR", help="Take inversions from here where an earlier command has left them."),
    click.option("--batch", type=click.IntRange(min=1), default=4, help="Photos at once."),
]


def photo_options(command: Callable) -> Callable:
    """Add the options of commands on photos."""
    return _with(command, _FILES + _NETWORK + _TUNING)


def network_options(command: Callable) -> Callable:
    """Add the options of commands that invert without tuning."""
    return _with(command, _NETWORK)


def _with(command, options):
    for option in reversed(options):
        command = option(command)
    return command


def make_inverter(flags: dict[str, Any], needs_quality: bool) -> Inverter:
    """Return what the options in `flags` ask for; they are taken out."""
    names = ("network", "encoder", "steps", "space", "perceptual", "overrides", "weights_dir", "device")
    network, encoder, steps, space, perceptual, overrides, weights_dir, device = (flags.pop(name) for name in names)
    stages = ("projector", "tuning") if "tuning_steps" in flags else ("projector",)
    if steps is None and encoder is not None:
        steps = ENCODER_STEPS
    values = {
        "projector.steps": steps,
        "projector.space": space,
        "tuning.steps": flags.pop("tuning_steps", 0),
        "tuning.stop_psnr": flags.pop("stop_psnr", None),
    }
    texts = {name: json.dumps(value) for name, value in values.items() if value is not None}
    texts |= dict(_assignment(text, stages) for text in overrides)
    options = InversionOptions(
        encoder=encoder,
        projector=_stage("projector", ProjectorOptions(), texts, "--steps"),
        tuning=_stage("tuning", TuningOptions(), texts, "--tuning-steps"),
        perceptual=perceptual,
    )
    device = best_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    return Inverter(network, device, options, WeightsDirectory.find(weights_dir), needs_quality)


def make_reader(flags: dict[str, Any], inverter: Inverter) -> PhotoReader:
    """Return how photos are read; the option is taken out of `flags`."""
    return PhotoReader(inverter.G, flags.pop("align") or None)


def make_job(flags: dict[str, Any]) -> PhotoJob:
    """Return the photos that `flags` name; the options are taken out. UserError where there are no such codes."""
    job = PhotoJob(**{field.name: flags.pop(field.name) for field in dataclasses.fields(PhotoJob)})
    if job.codes is not None:
        existing(job.codes, "folder of codes")
    return job


def finish(summary: Summary) -> None:
    """Say what came of a job, and leave with its exit code."""
    click.echo(summary.report())
    if summary.exit_code:
        sys.exit(summary.exit_code)


def strip(images: dict[str, np.ndarray]) -> np.ndarray:
    """Return images uint8 `[R, R, 3]` side by side with their names above."""
    return labelled_grid(np.stack(list(images.values()))[None], [""], list(images))


def finite(context: click.Context, parameter: click.Parameter, value: float | tuple[float, ...]):
    """Refuse nan and the infinities, which pass a range."""
    for number in value if isinstance(value, tuple) else (value,):
        if not math.isfinite(number):
            raise click.BadParameter(f"{number} is not finite.")
    return value


def _stage(name: str, defaults: Any, texts: dict[str, str], flag: str) -> Any:
    """Return the options of a stage, by dotted names; None where it takes no steps, and then refuse any other."""
    own = {path.removeprefix(f"{name}."): text for path, text in texts.items() if path.startswith(f"{name}.")}
    if own.get("steps") != "0":
        return with_overrides(defaults, own)
    for field in own:
        if field != "steps":
            raise UserError(f"{name}.{field} has no effect without steps; leave it out, or give {flag} above 0")
    return None


def _assignment(text: str, stages: tuple[str, ...]) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise UserError(f"--set {text} has no value; write --set field=value")
    if not name.startswith(tuple(f"{stage}." for stage in stages)):
        known = " or ".join(f"{stage}.FIELD" for stage in stages)
        raise UserError(f"--set {text} is no field of the inversion; write {known}")
    return name, value
