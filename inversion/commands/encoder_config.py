"""The configuration of an encoder's training that flags ask for."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dnnlib.config import with_overrides
from dnnlib.errors import UserError, unknown_name
from dnnlib.flags import fields_of_flags, parse_assignment
from images.datasets.dataset import check_recipe
from inversion.encoders.config import KIND_PARTS, EncoderConfig, EncoderNetworkConfig
from inversion.encoders.encoder import kind_module
from inversion.encoders.files import find_encoder, read_encoder_config, require_network
from inversion.encoders.quality_objective import DEFAULTS as QUALITY_DEFAULTS
from networks.generators.inserts import last_replaceable
from networks.resolutions import resolutions
from torch_utils.distributed import best_device
from torch_utils.precision import fastest_dtype

# Flag -> the fields of the configuration that it sets.
FIELDS = {
    "data": ("data.path",),
    "mirror": ("data.mirror",),
    "subset": ("data.subset",),
    "degradation": ("data.degradation",),
    "licence": ("data.licence",),
    "kind": ("encoder.kind",),
    "padded_layers": ("encoder.padding.layers",),
    "feature_layer": ("encoder.features.layer",),
    "backbone": ("encoder.backbone",),
    "width": ("encoder.width", "encoder.q_width"),
    "space": ("encoder.space",),
    "input_size": ("encoder.input_size",),
    "arcface": ("arcface",),
    "quality_only": ("quality_only",),
    "init_from": ("init_from",),
    "perceptual": ("loss.perceptual",),
    "batch": ("batch",),
    "lr": ("optimizer.lr",),
    "seed": ("seed",),
    "kimg": ("run.kimg",),
    "tick": ("run.kimg_per_tick",),
    "snap": ("run.snapshot_ticks",),
    "precision": ("run.precision",),
    "workers": ("run.workers",),
    "gpus": ("run.gpus",),
    "device": ("run.device",),
    "on_bad_image": ("run.on_bad_image",),
    "allow_data_change": ("run.allow_data_change",),
    "log": ("run.log",),
}

QUALITY_FIELDS = ("encoder.q_width", "encoder.q_input")  # of the encoder, what --quality-only trains
CONTENT_FIELDS = (
    *("loss.w_norm", "loss.own_w", "loss.w_length", "loss.features", "loss.own_features"),
    *("loss.sharp.", "loss.degraded.", "loss.perceptual", "loss.scales"),
    *("loss.adversarial", "adversary.", "schedule.blend_kimg", "arcface"),
)


def resolve(network: str, overrides: Sequence[str], ablation: str | None = None, **flags: Any) -> EncoderConfig:
    """Return the configuration that flags ask for; fields without a flag follow the network and the device.

    With an ablation they follow its baseline first; what it changes, it changes last.
    """
    header = require_network(network)
    values = fields_of_flags(flags, FIELDS) | dict(parse_assignment(text) for text in overrides)
    device = best_device(_with_only("run.device", values).run.device)
    resolution = (header.get("images") or {}).get("resolution", 256)
    config = with_overrides(
        EncoderConfig(),
        {
            "generator": json.dumps(network),
            "data.degradation": json.dumps(_degradation_of(header)),
            "run.precision": "bf16" if fastest_dtype(device) == "bf16" else "fp32",
        },
    )
    if values.get("quality_only", "false") != "false":
        config = _with_content(config, network, header, values, ablation)
    else:
        kind = _with_only("encoder.kind", values).encoder.kind
        _require_effect(kind, values)
        size = {"encoder.input_size": json.dumps(min(max(resolution, 64), 256))}
        baseline = {} if ablation is None else kind_module(kind).BASELINE
        config = with_overrides(config, size | _places(header, resolution) | kind_module(kind).DEFAULTS | baseline)
        values = _with_start(values, dict(parse_assignment(text) for text in overrides))
    config = with_overrides(config, values)
    if ablation is not None:
        config = ablated(config, ablation)
    if config.arcface and config.init_from is not None:
        raise UserError(f"--arcface has no effect with --init-from={config.init_from}; leave one of them out")
    if config.data.degradation is not None:
        check_recipe(config.data.degradation)
    return config


def ablated(config: EncoderConfig, name: str) -> EncoderConfig:
    """Return the configuration of an ablation; raise UserError for an unknown one, and for one that changes nothing."""
    kind = config.encoder.kind
    ablations = kind_module(kind).ABLATIONS
    if not ablations:
        able = [f"--kind={other}" for other in KIND_PARTS if kind_module(other).ABLATIONS]
        raise UserError(f"--kind={kind} has no ablations, so no {name}; give {' or '.join(able)}, or leave it out")
    if name not in ablations:
        raise unknown_name(f"ablation of --kind={kind}", name, ablations)
    result = with_overrides(config, ablations[name])
    if ablations[name] and result == config:
        raise UserError(
            f"--ablation={name} has no effect here, as what it leaves out has no weight; give it one by --set"
        )
    return result


def _with_only(field: str, values: Mapping[str, str], config: EncoderConfig | None = None) -> EncoderConfig:
    """Return a configuration, the default one for None, with one field as `values` have it, if they do."""
    return with_overrides(config or EncoderConfig(), {name: text for name, text in values.items() if name == field})


def _with_content(
    config: EncoderConfig, network: str, header: dict[str, Any], values: Mapping[str, str], ablation: str | None
) -> EncoderConfig:
    """Return the configuration of a training of q's network alone, beside an encoder that is there.

    Raises UserError where there is none, and for fields that are about what is not trained.
    """
    if not (header.get("generator") or {}).get("quality"):
        raise UserError(f"{network} is plain, without quality codes to tell; leave out --quality-only")
    of_content = (*CONTENT_FIELDS, "encoder.")
    idle = ["--ablation"] if ablation is not None else []
    idle += [field for field in values if field.startswith(of_content) and field not in QUALITY_FIELDS]
    if idle:
        raise UserError(
            f"{idle[0]} has no effect with --quality-only, which trains no content; leave it out (of the encoder "
            f"{' and '.join(QUALITY_FIELDS)} are about the network that is trained)"
        )
    path = _with_only("init_from", values).init_from or find_encoder(network)
    if path is None:
        raise UserError(f"there is no encoder beside {network} for --quality-only; give one by --init-from=ENCODER")
    encoder = _with_quality(read_encoder_config(path), values)
    config = dataclasses.replace(config, quality_only=True, init_from=str(path), encoder=encoder)
    return with_overrides(config, QUALITY_DEFAULTS)


def _with_quality(theirs: EncoderNetworkConfig, values: Mapping[str, str]) -> EncoderNetworkConfig:
    """Return the configuration of an encoder whose network for q is trained on, or begun.

    One is begun where there is none, and where `values` say that it reads something else; unless they do, traces.
    """
    own = EncoderConfig(encoder=dataclasses.replace(theirs, q_input=theirs.q_input if theirs.q_width else "traces"))
    wanted = _with_only("encoder.q_input", values, own).encoder.q_input
    if theirs.q_width and wanted == theirs.q_input:
        return theirs
    return dataclasses.replace(theirs, q_input=wanted, q_width=1.0 if wanted == "traces" else theirs.width)


def _with_start(values: dict[str, str], explicit: Mapping[str, str]) -> dict[str, str]:
    """Return the fields with those by which q is told as by the encoder to begin with, where that reads traces.

    What is `explicit`, by --set, counts more; --width is that of backbones.
    """
    path = _with_only("init_from", values).init_from
    if path is None or "encoder.q_input" in explicit:
        return values
    theirs = read_encoder_config(path)
    if not theirs.q_width or theirs.q_input == "images":
        return values
    return {**values, "encoder.q_input": theirs.q_input, "encoder.q_width": str(theirs.q_width), **explicit}


def _require_effect(kind: str, values: Mapping[str, str]) -> None:
    """Raise UserError where a field is about another kind of encoders, or about a training of q's network alone."""
    if "loss.traces" in values:
        raise UserError("loss.traces has no effect without --quality-only; leave it out, or give that as well")
    for other, part in KIND_PARTS.items():
        theirs = kind_module(other).DEFAULTS
        for field in values:
            if other != kind and (field in theirs or (part is not None and field.startswith(f"encoder.{part}."))):
                raise UserError(f"{field} has no effect with --kind={kind}; leave it out, or give --kind={other}")


def _places(header: dict[str, Any], resolution: int) -> dict[str, str]:
    """Return the padded layers and the layer K as published, or what comes nearest in a small network."""
    blocks = len(resolutions(resolution))
    quality = (header.get("generator") or {}).get("quality")
    last = last_replaceable(blocks, blocks - quality.get("blocks", 2) if quality else 0)
    defaults = EncoderConfig().encoder
    layers, layer = min(defaults.padding.layers, blocks), max(1, min(defaults.features.layer, last))
    return {"encoder.padding.layers": str(layers), "encoder.features.layer": str(layer)}


def _degradation_of(header: dict[str, Any]) -> str | None:
    """Return the recipe that a network has learned, by its header; None for a plain network."""
    if not (header.get("generator") or {}).get("quality"):
        return None
    return header.get("degradation") or "mixture"
