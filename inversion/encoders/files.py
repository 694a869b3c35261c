"""Encoders in files: save them, load them, and check which network they are for."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnnlib.config import differences, from_dict, to_dict
from dnnlib.errors import UserError
from dnnlib.files import real_path, sha256
from inversion.encoders.config import KIND_PARTS, EncoderNetworkConfig
from inversion.encoders.encoder import Encoder
from networks.generators.interface import Generator
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.loading import CURE, blaming_header, load_module

KIND = "encoder"  # kind of the file, in its header
PREFIX = "encoder."  # beginning of the tensors' names
STATISTICS = ("w_avg", "w_spread", "spatial.mean", "spatial.spread", "spatial.const")  # statistics of the network
FRESH_QUALITY = "quality."  # beginning of the names of q's network
FRESH = (FRESH_QUALITY, "spatial.")  # beginnings of the names that another encoder may lack


def save_encoder(
    path: str | os.PathLike, encoder: Encoder, G: Generator, network_sha256: str, provenance: dict[str, Any]
) -> None:
    """Write an encoder as safetensors; the header names the network that it is for.

    Args:
        path: path of the file, which is replaced in one step.
        encoder: encoder to write.
        G: network that the encoder is for.
        network_sha256: SHA-256 of that network's file.
        provenance: training length, data and licence, for the header.
    """
    network = {"sha256": network_sha256, **_shape(G)}
    header = {"kind": KIND, "encoder": _described(encoder.config), "network": network, **provenance}
    save_tensors(path, {PREFIX + name: tensor for name, tensor in encoder.state_dict().items()}, header)


def load_encoder(path: str | os.PathLike, network_path: str | os.PathLike, G: Generator) -> Encoder:
    """Return the encoder in a file, in evaluation mode, frozen, on G's device.

    Args:
        path: path of the encoder's file.
        network_path: path of the file that G was loaded from.
        G: network that the codes are for.

    Raises UserError for a file that is missing, damaged or no encoder, and for an encoder of another network.
    """
    require_network(network_path)
    header = read_encoder_header(path)
    _require_same_network(path, header.get("network"), network_path, G)
    config = read_encoder_config(path)
    encoder = load_module(lambda: Encoder(config, G), path, PREFIX, KIND)
    encoder.to(G.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    return encoder.eval().requires_grad_(False)


def find_encoder(network_path: str | os.PathLike) -> Path | None:
    """Return the encoder for a network among the files of the same folder, the longest trained of several.

    Those whose network for q was trained on alone count as what they began with, and then by that training.

    Raises UserError for a network file that is none.
    """
    require_network(network_path)
    digest = sha256(Path(network_path))
    found: list[tuple[float, float, str]] = []
    for path in sorted(real_path(network_path).parent.glob("*.safetensors")):
        with contextlib.suppress(UserError):
            header = read_encoder_header(path)
            if (header.get("network") or {}).get("sha256") == digest:
                found.append((header.get("kimg") or 0, header.get("quality_kimg") or 0, str(path)))
    return Path(max(found)[2]) if found else None


def start_from(path: str | os.PathLike, encoder: Encoder, G: Generator) -> None:
    """Give an encoder that is to be trained the weights of another, perhaps for another network of the same shape.

    The network for q begins with fresh weights where the other encoder, of a plain network, has none, or one that reads
    something else, and so does the head of a kind of encoder that the other is not. The statistics of w and of
    features, and the constant, stay those of the new network.

    Args:
        path: file of the encoder to start from.
        encoder: encoder that is changed.
        G: network that it is for.

    Raises UserError for an encoder of other sizes.
    """
    header = read_encoder_header(path)
    require_same_shape(path, header.get("network"), "the network", G, besides=("q_dim",))
    kept = encoder.state_dict()
    start = load_tensors(path, PREFIX) | {name: kept[name] for name in STATISTICS if name in kept}
    try:
        missing = [name for name in kept if name not in start and not name.startswith(FRESH)]
        if missing:
            raise RuntimeError(f"{missing[0]} is missing")
        encoder.load_state_dict({name: start.get(name, value) for name, value in kept.items()})
    except RuntimeError as error:
        theirs, ours = read_encoder_config(path), encoder.config
        if theirs.q_input != ours.q_input:
            theirs = replace(theirs, q_input=ours.q_input, q_width=ours.q_width)
        # They may be of two kinds, as a head that only one has begins anew; what only other kinds have is no size.
        kinds = {theirs.kind, ours.kind}
        apart = {part: getattr(ours, part) for kind, part in KIND_PARTS.items() if part is not None and {kind} != kinds}
        raise _other_sizes(path, replace(theirs, kind=ours.kind, **apart), ours) from error


def start_beside(
    path: str | os.PathLike, encoder: Encoder, network_path: str | os.PathLike, G: Generator
) -> dict[str, float]:
    """Give an encoder whose network for q alone is to be trained the content of another for the same network.

    Nothing of the content changes, its statistics included; the network for q begins with the other's where it has one
    that reads the same.

    Args:
        path: file of the encoder to start from.
        encoder: encoder that is changed.
        network_path: path of the file that G was loaded from.
        G: network that it is for.

    Returns: how many thousand images content and network for q were trained with before, as headers name them.

    Raises UserError for an encoder of another kind or size, and as `load_encoder` does.
    """
    start = load_encoder(path, network_path, G)
    theirs, ours = start.config, encoder.config
    is_fresh = not theirs.q_width or theirs.q_input != ours.q_input
    if is_fresh:
        theirs = replace(theirs, q_width=ours.q_width, q_input=ours.q_input)
    if _described(theirs) != _described(ours):
        raise _other_sizes(path, theirs, ours, "take all sizes as they are there, or start from another")
    of_quality, of_content = _parted((encoder if is_fresh else start).state_dict())[0], _parted(start.state_dict())[1]
    encoder.load_state_dict(of_quality | of_content)
    header = read_encoder_header(path)
    return {"kimg": header.get("kimg") or 0, "quality_kimg": 0 if is_fresh else header.get("quality_kimg") or 0}


def _parted(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of the network for q, and all else."""
    of_quality = {name: value for name, value in state.items() if name.startswith(FRESH_QUALITY)}
    return of_quality, {name: value for name, value in state.items() if name not in of_quality}


def _other_sizes(
    path: str | os.PathLike,
    theirs: EncoderNetworkConfig,
    ours: EncoderNetworkConfig,
    cure: str = "train one of the same sizes, or start from another",
) -> UserError:
    """Return the error that names what differs between an encoder to start from and the one that is to be trained."""
    found = ", ".join(f"encoder.{difference}" for difference in differences(theirs, ours))
    if not found:
        return UserError(f"{path} does not hold what its header says", CURE)
    return UserError(f"{path} is an encoder of other sizes ({found})", cure)


def read_encoder_header(path: str | os.PathLike) -> dict[str, Any]:
    """Return the header of an encoder; raise UserError for any other file."""
    header = read_header(path)
    if header.get("kind") != KIND:
        raise UserError(f"{path} is no encoder; give an encoder-....safetensors, as invert.py train-encoder writes it")
    return header


def read_encoder_config(path: str | os.PathLike) -> EncoderNetworkConfig:
    """Return the configuration in the header of an encoder; raise UserError for any other file."""
    header = read_encoder_header(path)
    with blaming_header(path, KIND):
        return from_dict(EncoderNetworkConfig, header.get("encoder"), "encoder.")


def require_network(path: str | os.PathLike) -> dict[str, Any]:
    """Return the header of a network file; raise UserError for an encoder, and as `read_header` does."""
    header = read_header(path)
    if header.get("kind") == KIND:
        raise UserError(f"{path} is an encoder, not a network; give the network-snapshot that it was trained for")
    return header


def _described(config: EncoderNetworkConfig) -> dict[str, Any]:
    """Return a configuration for a header, without the parts that are about other kinds of encoders."""
    others = [part for kind, part in KIND_PARTS.items() if kind != config.kind]
    return {name: value for name, value in to_dict(config).items() if name not in others}


def _require_same_network(
    path: str | os.PathLike, trained_for: Any, network_path: str | os.PathLike, G: Generator
) -> None:
    """Raise UserError unless the encoder's header names this network."""
    require_same_shape(path, trained_for, network_path, G)
    if trained_for.get("sha256") != sha256(Path(network_path)):
        raise UserError(
            f"{path} was trained for another network than {network_path}; give that one's encoder, or train one with "
            "invert.py train-encoder"
        )


def require_same_shape(
    path: str | os.PathLike,
    trained_for: Any,
    network: str | os.PathLike,
    G: Generator,
    besides: Sequence[str] = (),
) -> None:
    """Raise UserError unless an encoder's header names a network of the same shape; numbers `besides` may differ.

    Args:
        path: file of the encoder, for the error.
        trained_for: `network` of its header.
        network: file of the network, or words for it.
        G: network that is to be inverted.
        besides: names of numbers that are not compared.
    """
    if not isinstance(trained_for, dict):
        raise UserError(f"the header of {path} names no network; copy or download it again")
    for name, value in _shape(G).items():
        found = trained_for.get(name)
        if name not in besides and found != value:
            cure = "give the encoder of this network, or train one with invert.py train-encoder"
            if name == "q_dim" and not found:  # the last number that is compared: all others agree
                cure = (
                    "if it was trained on the plain network that this one was made of with --degrad-only, "
                    f"`python -m exchange.slim {path} -o ENCODER --for-network={network}` makes one for this"
                )
            raise UserError(
                f"{path} is for a network with {name} {found or 'none'}, {network} has {value or 'none'}; {cure}"
            )


def _shape(G: Generator) -> dict[str, int | None]:
    """Return the numbers in which encoder and network must agree, by name."""
    return {
        "resolution": G.img_resolution,
        "channels": G.img_channels,
        "num_ws": G.num_ws,
        "w_dim": G.w_dim,
        "q_dim": G.q_dim or None,
    }
