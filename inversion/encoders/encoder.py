"""Encoders: images to codes in one pass (paper, section 3.4, stage 1), and their files."""

import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnnlib.config import from_dict, to_dict
from dnnlib.errors import UserError
from inversion.encoders.config import BACKBONES, EncoderNetworkConfig
from inversion.encoders.heads import StylePyramid
from inversion.latents import Latents
from metrics.weights.directory import WeightsDirectory, file_sha256
from networks.generators.stylegan2 import Generator
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.seeding import BatchRandom

KIND = "encoder"
PREFIX = "encoder."
STRIDES = (4, 8, 16)  # of a backbone's maps
FOR_SPREAD, SPREAD_SAMPLES = 21, 1000  # of w, from which its spread is measured


class CodeNetwork(nn.Module):
    """A backbone and the heads on it: images `[N, C, S, S]` to `[N, count, features]`."""

    def __init__(self, backbone: nn.Module, config: EncoderNetworkConfig, count: int, features: int):
        super().__init__()
        self.backbone = backbone
        sides = [config.input_size // stride for stride in STRIDES]
        self.heads = StylePyramid(backbone.channels, sides, count, features, config.slope, config.align_corners)

    def forward(self, images: Tensor) -> Tensor:
        return self.heads(self.backbone.maps(images)).float()


class Encoder(nn.Module):
    """Two networks, one for w and one for q, or only the first.

    Args:
        config: of both networks.
        G: generator whose codes are predicted; only its widths and its `w_avg` are taken over.
        published: where to find ArcFace weights to begin with; None: fresh weights.
    """

    def __init__(self, config: EncoderNetworkConfig, G: Generator, published: WeightsDirectory | None = None):
        super().__init__()
        self.config, self.num_ws = config, G.num_ws
        build = BACKBONES.get(config.backbone).build
        count = 1 if config.space == "w" else G.num_ws
        self.content = CodeNetwork(build(G.img_channels, config.width, published), config, count, G.w_dim)
        self.quality = None
        if hasattr(G, "q_dim") and config.q_width > 0:
            self.quality = CodeNetwork(build(G.img_channels, config.q_width, published), config, 1, G.q_dim)
        self.register_buffer("w_avg", G.mapping.w_avg.detach().clone())
        self.register_buffer("w_spread", torch.ones([]))  # standard deviation of w around w_avg

    def forward(self, images: Tensor) -> Latents:
        """Return the codes of images `[N, C, R, R]` in [-1, 1]; any side R."""
        side = self.config.input_size
        if images.shape[2:] != (side, side):
            images = F.interpolate(images, size=(side, side), mode="area")
        images = images.contiguous(memory_format=torch.channels_last)
        offsets = self.content(images)  # [N, 1 or num_ws, w_dim]
        ws = self.w_avg + self.w_spread * offsets.expand(-1, self.num_ws, -1)
        return Latents(ws, None if self.quality is None else self.quality(images)[:, 0])

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training changes, by name."""
        return dict(self.named_parameters())


def build(config: EncoderNetworkConfig, G: Generator, published: WeightsDirectory | None = None) -> Encoder:
    """Return an encoder for the generator, with fresh weights from torch's global random state, on G's device.

    With `published`, backbones begin with ArcFace's weights. Raises UserError where the backbone does not have the
    width, or where there are no such weights.
    """
    encoder = Encoder(config, G, published).to(G.mapping.w_avg.device)
    encoder.w_spread.copy_(spread_of_w(G))
    return encoder.to(memory_format=torch.channels_last)


@torch.no_grad()
def spread_of_w(G: Generator) -> Tensor:
    """Return the root mean square, over elements, of w - w_avg."""
    rng = BatchRandom((FOR_SPREAD,), SPREAD_SAMPLES)
    z = rng.randn(G.z_dim).to(G.mapping.w_avg.device)
    w = G.mapping(z, random_classes(G, rng))[:, 0]
    return (w - G.mapping.w_avg).square().mean().sqrt().clamp(min=1e-8)


def random_classes(G: Generator, rng: BatchRandom) -> Tensor | None:
    """Return a random class of each row as `[N, c_dim]`, one-hot; None for an unconditional generator."""
    if G.c_dim == 0:
        return None
    return F.one_hot(rng.randint(0, G.c_dim), G.c_dim).float().to(G.mapping.w_avg.device)


def save_encoder(
    path: str | os.PathLike, encoder: Encoder, G: Generator, network_sha256: str, provenance: dict[str, Any]
) -> None:
    """Write an encoder as safetensors; the header names the network that it is for.

    Args:
        path: replaced in one step.
        encoder: what is written.
        G: the network that it is for.
        network_sha256: of that network's file.
        provenance: training length, data, licence; goes into the header.
    """
    network = {"sha256": network_sha256, **_shape(G)}
    header = {"kind": KIND, "encoder": to_dict(encoder.config), "network": network, **provenance}
    save_tensors(path, {PREFIX + name: tensor for name, tensor in encoder.state_dict().items()}, header)


def load_encoder(path: str | os.PathLike, network_path: str | os.PathLike, G: Generator) -> Encoder:
    """Return the encoder in a file, in evaluation mode, frozen, on G's device.

    Args:
        path: of the encoder.
        network_path: of the network that G was loaded from.
        G: the network that its codes are for.

    Raises UserError for a file that is missing, damaged or no encoder, and for an encoder of another network.
    """
    require_network(network_path)
    header = read_header(path)
    if header.get("kind") != KIND:
        raise UserError(f"{path} is no encoder; give an encoder-....safetensors, as invert.py train-encoder writes it")
    _require_same_network(path, header.get("network"), network_path, G)
    try:
        encoder = Encoder(from_dict(EncoderNetworkConfig, header.get("encoder"), "encoder."), G)
    except UserError as error:
        raise UserError(f"the header of {path} describes no encoder ({error}); copy or download it again") from error
    try:
        encoder.load_state_dict(load_tensors(path, PREFIX), strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path} does not hold what its header says ({reason}); copy it again") from error
    encoder = encoder.to(G.mapping.w_avg.device, memory_format=torch.channels_last)
    return encoder.eval().requires_grad_(False)


def require_network(path: str | os.PathLike) -> dict[str, Any]:
    """Return the header of a network file; raise UserError for an encoder, and as `read_header` does."""
    header = read_header(path)
    if header.get("kind") == KIND:
        raise UserError(f"{path} is an encoder, not a network; give the network-snapshot that it was trained for")
    return header


def _require_same_network(path, trained_for, network_path, G):
    """Raise UserError unless the encoder's header names this network."""
    if not isinstance(trained_for, dict):
        raise UserError(f"the header of {path} names no network; copy or download it again")
    for name, value in _shape(G).items():
        if trained_for.get(name) != value:
            raise UserError(
                f"{path} is for a network with {name} {trained_for.get(name)}, {network_path} has {value}; "
                "give the encoder of this network, or train one with invert.py train-encoder"
            )
    if trained_for.get("sha256") != file_sha256(Path(network_path)):
        raise UserError(
            f"{path} was trained for another network than {network_path}; give that one's encoder, or train one with "
            "invert.py train-encoder"
        )


def _shape(G):
    """Return what encoder and network must agree on, by name."""
    return {
        "resolution": G.img_resolution,
        "channels": G.img_channels,
        "num_ws": G.num_ws,
        "w_dim": G.w_dim,
        "q_dim": getattr(G, "q_dim", None),
    }
