"""Networks and their files: build from a configuration, save, load."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from dnnlib.config import from_dict, require, to_dict
from dnnlib.errors import UserError
from dnnlib.remarks import remark
from networks.config import KINDS, DiscriminatorConfig, Dtype, GeneratorConfig
from networks.discriminator import Discriminator
from networks.generators.interface import Generator
from torch_utils.checkpoint import read_header, save_tensors, tensor_shapes
from torch_utils.loading import blaming_header, load_module
from torch_utils.precision import suits

KIND = "network"  # name of such files in errors
GENERATOR = "G_ema."  # prefix of the generator's tensors


@dataclass(frozen=True)
class ImageFormat:
    """What every network of a run must agree on."""

    resolution: int
    channels: int
    c_dim: int

    def __post_init__(self) -> None:
        side = self.resolution
        require(side >= 4 and side & (side - 1) == 0, "resolution", side, "a power of two from 4 on")
        require(self.channels >= 1, "channels", self.channels, "at least 1")
        require(self.c_dim >= 0, "c_dim", self.c_dim, "at least 0")


def build_generator(config: GeneratorConfig, images: ImageFormat) -> Generator:
    """Return a generator of `config.kind` with fresh weights; raise UserError for an unknown kind."""
    return KINDS.get(config.kind).build(config, images.c_dim, images.resolution, images.channels)


def build_discriminator(config: DiscriminatorConfig, images: ImageFormat) -> Discriminator:
    """Return a discriminator with fresh weights."""
    return Discriminator(config, images.c_dim, images.resolution, images.channels)


def save_network(
    path: str | os.PathLike,
    G_ema: Generator,
    discriminators: Mapping[str, Discriminator],
    provenance: dict[str, Any],
) -> None:
    """Write a network: the generator's moving average, and the discriminators that a new run can start from.

    Args:
        path: path of the safetensors file, replaced in one step.
        G_ema: generator, whose tensors are stored as `G_ema.NAME`.
        discriminators: discriminators by stream, `sharp` and perhaps `degraded`, stored as `D_STREAM.NAME`; or none.
        provenance: training length, data, licence; goes into the header.
    """
    tensors = {GENERATOR + name: tensor for name, tensor in G_ema.state_dict().items()}
    for stream, D in discriminators.items():
        tensors |= {f"D_{stream}.{name}": tensor for name, tensor in D.state_dict().items()}
    header = {
        "generator": to_dict(G_ema.config),
        "discriminator": to_dict(next(iter(discriminators.values())).config) if discriminators else None,
        "images": to_dict(ImageFormat(G_ema.img_resolution, G_ema.img_channels, G_ema.c_dim)),
        "preprocessing": "uint8 RGB or gray, mapped to float32 in [-1, 1] by x / 127.5 - 1",
        **provenance,
    }
    save_tensors(path, tensors, header)


def load_generator(path: str | os.PathLike) -> tuple[Generator, dict[str, Any]]:
    """Return the generator of a network file, in evaluation mode on the CPU, and the file's header.

    Raises UserError for a file that is missing, truncated, of a newer format, or no network.
    """
    header, parts = _described(path)
    G = load_module(lambda: build_generator(parts["generator"], parts["images"]), path, GENERATOR, KIND)
    return G.eval().requires_grad_(False), header


def load_discriminator(path: str | os.PathLike, stream: str) -> Discriminator:
    """Return the discriminator of a stream, or the one that the file has instead: rather the sharp one.

    Raises UserError for a file without any, and as `load_generator` does.
    """
    header, parts = _described(path)
    if not describes_discriminator(header):
        raise UserError(f"{path} has no discriminator, only a generator; give a network that has one")
    prefixes = [f"D_{name}." for name in (stream, "sharp", "degraded")]
    prefix = next((prefix for prefix in prefixes if tensor_shapes(path, prefix)), prefixes[0])
    return load_module(lambda: build_discriminator(parts["discriminator"], parts["images"]), path, prefix, KIND)


def describes_discriminator(header: dict[str, Any]) -> bool:
    """Whether the network file with this header has a discriminator; imported ones may have none."""
    return "discriminator" not in header or header["discriminator"] is not None


def _described(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header of a network file, and by name the configurations that it holds."""
    header = read_header(path)
    kinds = {"generator": GeneratorConfig, "discriminator": DiscriminatorConfig, "images": ImageFormat}
    if not describes_discriminator(header):
        del kinds["discriminator"]
    with blaming_header(path, KIND):
        return header, {name: from_dict(kind, header.get(name), f"{name}.") for name, kind in kinds.items()}


def with_precision(G: Generator, dtype: Dtype) -> Generator:
    """Return a generator of the same weights whose highest resolutions compute in `fp32`, `bf16` or `fp16`."""
    if G.config.precision.dtype == dtype:
        return G
    config = dataclasses.replace(G.config, precision=dataclasses.replace(G.config.precision, dtype=dtype))
    other = build_generator(config, ImageFormat(G.img_resolution, G.img_channels, G.c_dim))
    other.load_state_dict(G.state_dict())
    return other.eval().requires_grad_(False)


def load(path: str | os.PathLike, device: torch.device, precision: Dtype | Literal["stored"] = "stored") -> Generator:
    """Return the generator of a network file, for evaluation.

    Args:
        path: path of the network.
        device: device that it is moved to.
        precision: precision of the blocks with the highest resolutions, `fp32`, `bf16` or `stored` (as trained, but
            fp32 on a device that is slow at it).

    Raises UserError for a file that is missing, damaged, or no network.
    """
    G, _ = load_generator(path)
    dtype = G.config.precision.dtype if precision == "stored" else precision
    if precision == "stored" and not suits(device, dtype):
        remark(f"the network computes in {dtype}, which this device does slowly; fp32 is used")
        dtype = "fp32"
    return with_precision(G, dtype).to(device)
