"""Headers of encoders that are given to another file of their network, or to a QC network made of it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import sha256
from images.datasets.dataset import ImageDataset
from inversion.encoders.files import load_encoder
from inversion.familiarity import usual_results
from networks.files import load_generator
from networks.generators.interface import Generator
from torch_utils.checkpoint import load_tensors, read_header, save_tensors

HALF = 1e-3  # relative error of half precision
SEED = 0  # of the degradations of the photos


def header_for_network(
    source: str, header: dict[str, Any], tensors: dict[str, Tensor], for_network: str | None
) -> dict[str, Any]:
    """Return the header of an encoder that is given to the network in a file.

    Args:
        source: file of the encoder, for the errors.
        header: header of the encoder.
        tensors: tensors of the encoder.
        for_network: file of the network, whose sharp images are those of the encoder's own.

    Raises UserError where the network has another shape or another mean w.
    """
    if for_network is None:
        raise UserError(f"{source} is an encoder; name its slim network with --for-network=FILE")
    G, _ = load_generator(for_network)
    network = dict(header["network"])
    encoder = dict(header["encoder"])
    if network.get("q_dim") is None and G.q_dim > 0:
        network["q_dim"], encoder["q_width"] = G.q_dim, 0
    if any(network.get(name) != value for name, value in _shape(G).items()):
        raise UserError(f"{source} is for a network of another shape than {for_network}; give the network it is for")
    average = tensors["encoder.w_avg"].float()
    if not torch.allclose(average, G.mapping.w_avg, rtol=HALF, atol=HALF):
        raise UserError(f"{source} is for a network with another mean w than {for_network}; give the network it is for")
    return {**header, "encoder": encoder, "network": {**network, "sha256": sha256(Path(for_network))}}


def measure_anew(path: str, network: str, photos: str) -> None:
    """Replace in an encoder's header what it makes of photos, degraded by the recipe that it was trained with."""
    G, _ = load_generator(network)
    header = read_header(path)
    dataset = ImageDataset(photos, resolution=G.img_resolution, degradation=header.get("degradation"))
    encoder = load_encoder(path, network, G)
    save_tensors(path, load_tensors(path), header | usual_results(encoder, G, dataset, SEED))


def _shape(G: Generator) -> dict[str, int | None]:
    return {"resolution": G.img_resolution, "num_ws": G.num_ws, "w_dim": G.w_dim, "q_dim": G.q_dim or None}
