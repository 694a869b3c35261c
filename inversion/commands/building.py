"""The inverter, the reader and the direction that the flags of commands on photos ask for."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from dnnlib.config import with_overrides
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.flags import parse_assignment
from dnnlib.remarks import remark
from inversion.commands.options import InverterFlags, TuningFlags
from inversion.directions.direction import AnyDirection, load_direction
from inversion.directions.editing import no_paddings
from inversion.directions.padding_direction import PaddingDirection
from inversion.encoders.files import find_encoder
from inversion.inverter import InversionOptions, Inverter
from inversion.photos.reader import LARGEST, PhotoReader
from inversion.projector import ProjectorOptions
from inversion.quality.fit_quality import QualityOptions
from inversion.tuning_options import TUNINGS, TuningOptions
from metrics.weights.directory import WeightsDirectory
from torch_utils.checkpoint import read_header
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory
from torch_utils.processes.sharing import Share

ENCODER_STEPS = 0  # default of --projector-steps where an encoder is given

Options = TypeVar("Options", ProjectorOptions, TuningOptions, QualityOptions)


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
        projector=_stage_options("projector", ProjectorOptions(), texts, "--projector-steps"),
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
                f"--set {text} has no effect: q is searched for by itself only after an encoder that tells "
                "none, without --projector-steps; leave it out"
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


def on_share(flags: InverterFlags, share: Share) -> InverterFlags:
    """Return flags with the device of a process."""
    return dataclasses.replace(flags, device=str(share.device))


def make_reader(align: str | None, inverter: Inverter, faces: str = LARGEST) -> PhotoReader:
    """Return the reader that cuts photos for an inverter.

    Args:
        align: name of the face detector; None or "": the middle square is cut out.
        inverter: inverter whose network's resolution and channels the parts get.
        faces: `all` faces of a photo, or the `largest`.
    """
    if not align:
        return PhotoReader(inverter.G)
    tell_of_subject(align, read_header(inverter.network).get("subject"))
    return PhotoReader(inverter.G, align, faces)


def tell_of_subject(align: str, subject: Any) -> None:
    """Warn where a network's header says that it knows other faces than those that a detector finds."""
    wanted = "cat" if align == "cat" else "human"
    if not isinstance(subject, str) or not subject:
        return
    is_cat = re.search(r"\bcats?\b", subject, re.IGNORECASE) is not None
    is_human = re.search(r"\b(humans?|people|persons?|portraits?)\b", subject, re.IGNORECASE) is not None
    if (is_cat or is_human) and not {"cat": is_cat, "human": is_human}[wanted]:
        other = "cat" if is_cat else "human"
        remark(
            f"--align={align} finds {wanted} faces and the network knows {subject}: it will show those in their place; "
            f"pass --align={other}, or another --network"
        )


def make_direction(path: str, inverter: Inverter, codes: str | None = None) -> AnyDirection:
    """Return the direction in a file for the codes that an inverter finds, or that the folder `codes` may have.

    Raises UserError as `load_direction` does, and for one among paddings where none are found.
    """
    direction = load_direction(path, inverter.G, sha256(inverter.network))
    if isinstance(direction, PaddingDirection) and codes is None and inverter.kind != "padding":
        raise no_paddings(direction)
    return direction


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
