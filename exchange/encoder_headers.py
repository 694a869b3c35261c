"""Headers of encoders that are given to another file of their network, or to a QC network made of it."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnnlib.config import from_dict
from dnnlib.errors import UserError
from dnnlib.files import sha256
from images.datasets.dataset import ImageDataset
from inversion.encoders.config import EncoderNetworkConfig
from inversion.encoders.encoder import Encoder
from inversion.encoders.files import KIND, load_encoder, require_same_shape
from inversion.familiarity import usual_results
from networks.files import load
from networks.generators.interface import Generator
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.loading import blaming_header

CPU = torch.device("cpu")
HALF = 1e-3  # relative error of half precision
SEED = 0  # seed of the degradations of the photos


def header_for_network(
    source: str, header: dict[str, Any], tensors: dict[str, Tensor], for_network: str | None
) -> dict[str, Any]:
    """Return the header of an encoder that is given to the network in a file.

    Args:
        source: file of the encoder, for the errors.
        header: header of the encoder.
        tensors: tensors of the encoder.
        for_network: file of the network, whose sharp images are those of the encoder's own.

    Raises UserError where the network has another shape or another mean w, and where it has no place for the encoder's
    paddings or features.
    """
    if for_network is None:
        raise UserError(f"{source} is an encoder; name its slim network with --for-network=FILE")
    G = load(for_network, CPU, "fp32")
    trained_for = header.get("network")
    is_of_plain = isinstance(trained_for, dict) and not trained_for.get("q_dim")
    require_same_shape(source, trained_for, for_network, G, besides=("q_dim",) if is_of_plain else ())
    with blaming_header(source, KIND):
        encoder = {**header["encoder"], "q_width": 0} if is_of_plain and G.q_dim > 0 else header["encoder"]
        network = {**header["network"], "q_dim": G.q_dim or None, "sha256": sha256(Path(for_network))}
        average = tensors["encoder.w_avg"].float()
    if not torch.allclose(average, G.mapping.w_avg, rtol=HALF, atol=HALF):
        raise UserError(f"{source} is for a network with another mean w than {for_network}; give the network it is for")
    _require_places(source, encoder, for_network, G)
    return {**header, "encoder": encoder, "network": network}


def _require_places(source: str, encoder: dict[str, Any], network: str, G: Generator) -> None:
    """Raise UserError where a network has no place for what an encoder of this configuration finds besides w."""
    with blaming_header(source, KIND):
        config = from_dict(EncoderNetworkConfig, encoder, "encoder.")
    try:
        Encoder(config, G)
    except UserError as error:
        problem = f"{source} does not fit {network}: {error.problem}"
        raise UserError(problem, "train one for that network with invert.py train-encoder") from error


def measure_anew(path: str, network: str, photos: str) -> None:
    """Replace in an encoder's header what it makes of photos, degraded by the recipe that it was trained with.

    Raises UserError, and deletes the file, for photos that are missing or do not fit the network.
    """
    G = load(network, CPU, "fp32")
    header = read_header(path)
    try:
        dataset = ImageDataset(photos, resolution=G.img_resolution, degradation=header.get("degradation"))
        results = usual_results(load_encoder(path, network, G), G, dataset, SEED)
    except UserError:
        os.remove(path)
        raise
    save_tensors(path, load_tensors(path), header | results)
