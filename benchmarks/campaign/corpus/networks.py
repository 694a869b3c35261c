"""Files of this program: networks, encoders, directions, codes of photos and clips."""

import dataclasses
import json
from pathlib import Path

import safetensors.torch
import torch

from benchmarks.campaign.corpus.readers import Reader, digest
from exchange.inspect import _text
from inversion.directions.direction import Direction, load_direction, save_direction
from inversion.directions.padding_direction import PaddingDirection
from inversion.encoders.config import FeatureHeadConfig
from inversion.encoders.files import load_encoder
from inversion.tuned_weights import Inversion, TunedWeights, load_inversion, save_inversion
from inversion.video.codes_file import CodesFile
from networks.describe import describe
from networks.files import load_discriminator, load_generator
from networks.latents import Features, Latents, Padding
from tests.support.encoders import TINY, write_encoder
from tests.support.networks import quality_generator, write_network
from torch_utils.checkpoint import HEADER, load_tensors, read_header
from training.run_directory import RunDirectory

SETTINGS = {"steps": 3}


def network_beside(path: Path) -> Path:
    """Return the whole network that a file is for."""
    network = path.with_name("network-of-it.safetensors")
    return network if network.exists() else write_network(network)


def _read_network(path: Path) -> str:
    G, header = load_generator(path)
    D = load_discriminator(path, "degraded")
    return digest(header, G.state_dict(), D.state_dict())


def _read_facts(path: Path) -> str:
    facts = describe(path)
    return digest(_text({**facts, "sha256": "", "bytes": 0}))


def _write_old_network(path: Path) -> None:
    write_network(path)
    metadata = {HEADER: json.dumps(read_header(path))}
    safetensors.torch.save_file(load_tensors(path), path, metadata=metadata)


def _write_encoder(path: Path) -> None:
    network = network_beside(path)
    head = FeatureHeadConfig(layer=1)
    config = dataclasses.replace(TINY, kind="feature-style", features=head)
    write_encoder(path, load_generator(network)[0], network, config)


def _read_encoder(path: Path) -> str:
    network = network_beside(path)
    return digest(load_encoder(path, network, load_generator(network)[0]).state_dict())


def _write_direction(path: Path) -> None:
    save_direction(path, Direction(torch.randn(16), 1.5, "smile", "pca", (0, 1), None, {"rank": 1}))


def _read_direction(path: Path) -> str:
    found = load_direction(path, quality_generator())
    assert isinstance(found, Direction), "it is one of w"
    return digest(found.vector, found.std, found.name, found.method, found.layers, found.details)


def _write_padding_direction(path: Path) -> None:
    save_direction(path, PaddingDirection(_random_padding(1), "glasses", "pair", None, {"pairs": 1}))


def _read_padding_direction(path: Path) -> str:
    found = load_direction(path, quality_generator())
    assert isinstance(found, PaddingDirection), "it is one of paddings"
    return digest(found.padding.tensors(), found.name, found.method, found.details)


def _random_padding(rows: int) -> Padding:
    return Padding(torch.randn(rows, 16, 4, 4), {"b8.conv1": torch.randn(rows, 16, 36)})


def _random_codes(rows: int) -> Latents:
    """Return codes with all that codes may have, for the network that `network_beside` writes."""
    G = quality_generator()
    shape = G.code_shapes()["features.1"]
    ws, q = torch.randn(rows, G.num_ws, G.w_dim), torch.randn(rows, G.q_dim)
    return Latents(ws, q=q, padding=_random_padding(rows), features=Features(torch.randn(rows, *shape), 1))


def _write_inversion(path: Path) -> None:
    latents = _random_codes(1)
    tuned = TunedWeights({"synthesis.b16.torgb.bias": torch.randn(3).half()})
    save_inversion(path, Inversion(latents, tuned, "a.png", SETTINGS), network_beside(path))


def _read_inversion(path: Path) -> str:
    found = load_inversion(path, network_beside(path))
    assert found.tuned is not None, "it was tuned"
    return digest(found.latents.tensors(), found.tuned.differences, found.photo, found.settings)


def _write_state(path: Path) -> None:
    trainer = {"images_seen": 8, "G": {"w": torch.randn(9)}, "optimizer": {"state": {0: {"step": 3.0}}, "groups": []}}
    RunDirectory(path.parent).save_state({"trainer": trainer})


def _read_state(path: Path) -> str:
    state = RunDirectory(path.parent).load_state()
    assert state is not None, "it is there"
    return digest(state)


def _write_clip(path: Path) -> None:
    CodesFile(path, SETTINGS, quality_generator()).save([_random_codes(3)])


def _read_clip(path: Path) -> str:
    return digest([part.tensors() for part in CodesFile(path, SETTINGS, quality_generator()).load()])


READERS = [
    Reader("network", "network.safetensors", write_network, _read_network, True),
    Reader("network, inspected", "network.safetensors", write_network, _read_facts, True),
    Reader("network without checksums", "network.safetensors", _write_old_network, _read_network, False),
    Reader("encoder", "encoder.safetensors", _write_encoder, _read_encoder, True),
    Reader("direction", "smile.safetensors", _write_direction, _read_direction, True),
    Reader("direction of paddings", "glasses.safetensors", _write_padding_direction, _read_padding_direction, True),
    Reader("codes of a photo", "a-codes.safetensors", _write_inversion, _read_inversion, True),
    Reader("state of a training", "training-state.pt", _write_state, _read_state, True),
    Reader("codes of a clip", "clip.safetensors", _write_clip, _read_clip, True),
]
