"""Editing directions: what is added to codes to change one thing about an image, and their files."""

import logging
import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dnnlib.config import from_dict, to_dict
from dnnlib.errors import UserError, counted
from dnnlib.parsing import existing, integers
from inversion.directions.padding_direction import PaddingDirection
from inversion.directions.vector_files import READERS, read_vector
from inversion.directions.w_samples import draw_w, std_along
from networks.generators.interface import Generator
from networks.latents import Padding
from torch_utils.checkpoint import load_tensors, read_header, save_tensors

MEASURED = 4096  # sampled w that the strength of a plain vector is measured on


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in W or W+.

    Attributes:
        vector: float32 `[w_dim]` of unit length, the same for each `w`; or `[num_ws, w_dim]`, whose rows have a mean
            square length of one.
        std: length of a step of strength 1.0: the standard deviation of the projections of sampled w on the vector.
        name: name of what changes; also the name of the file.
        method: name of the method that found the direction.
        layers: numbers of the `ws` that the direction applies to; None: all.
        network: SHA-256 of the network file in which the direction was found, or None.
        details: further entries of the file's header, as JSON.
    """

    vector: Tensor
    std: float
    name: str
    method: str
    layers: tuple[int, ...] | None = None
    network: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.vector.ndim in (1, 2), f"the vector has shape {list(self.vector.shape)}"
        assert math.isfinite(self.std) and self.std >= 0, f"std is {self.std}"

    def to(self, device: torch.device | str) -> "Direction":
        """Return the direction on a device."""
        return replace(self, vector=self.vector.to(device))

    def step(self, num_ws: int) -> Tensor:
        """Return the step of strength 1.0 for each `w`, `[num_ws, w_dim]`; zero where the direction does not apply."""
        rows = self.vector.expand(num_ws, -1) * self.std  # [num_ws, w_dim]
        if self.layers is None:
            return rows
        mask = torch.zeros(num_ws, 1, device=rows.device)
        mask[list(self.layers)] = 1
        return rows * mask

    def steps(self, G: Generator) -> dict[str, Tensor]:
        """Return the step of strength 1, without rows, of each code that it moves, by its name in `Latents`."""
        return {"ws": self.step(G.num_ws)}

    def check_fits(self, G: Generator) -> None:
        """Raise UserError unless the direction has the widths of a generator."""
        width = self.vector.shape[-1]
        if width != G.w_dim:
            raise UserError(
                f"direction {self.name} has {width} numbers, and this network's w has {G.w_dim}; take one that was "
                "found for a network of this width"
            )
        if self.vector.ndim == 2 and len(self.vector) != G.num_ws:
            raise UserError(
                f"direction {self.name} has {counted(len(self.vector), 'row')}, and this network has {G.num_ws} ws; "
                "take one of "
                "a single row, or one that was found for a network of this resolution"
            )
        if self.layers is not None and max(self.layers) >= G.num_ws:
            raise UserError(
                f"direction {self.name} applies to layer {max(self.layers)}, and this network has 0 to "
                f"{G.num_ws - 1}; take one that was found for a network of this resolution"
            )


AnyDirection = Direction | PaddingDirection


@dataclass(frozen=True)
class DirectionHeader:
    """The header of a direction's file."""

    kind: Literal["direction"]
    name: str
    method: str
    std: float
    layers: tuple[int, ...] | None = None
    network: str | None = None
    details: dict = field(default_factory=dict)  # `from_dict` checks values by their class
    space: Literal["ws", "padding"] = "ws"  # which codes it moves; in those of paddings `std` and `layers` say nothing


def save_direction(path: str | os.PathLike, direction: AnyDirection) -> None:
    """Write a direction as safetensors, in one step."""
    common: dict[str, Any] = {name: getattr(direction, name) for name in ("name", "method", "network", "details")}
    if isinstance(direction, Direction):
        header = DirectionHeader("direction", std=direction.std, layers=direction.layers, **common)
        tensors = {"vector": direction.vector}
    else:
        header = DirectionHeader("direction", std=1.0, space="padding", **common)
        tensors = direction.padding.tensors()
    save_tensors(path, {name: tensor.float() for name, tensor in tensors.items()}, to_dict(header))


def load_direction(path: str | os.PathLike, G: Generator, network: str | None = None) -> AnyDirection:
    """Return the direction in a file, on the network's device.

    Besides the files of `save_direction`, plain vectors can be loaded, `[w_dim]` or `[num_ws, w_dim]`, as .npy, .npz or
    .pt. Their files have no strength, so it is measured on sampled w of `G`; their length has no effect.

    Args:
        path: path of the file; nothing in it can run code.
        G: network that is to be edited.
        network: SHA-256 of that network's file. A direction of another network is loaded with a warning, since plain
            StyleGANs and the QC-StyleGANs made from them share mapping and trunk (paper, section 3.5).

    Raises UserError for a file that is missing, damaged or no direction, and for a direction of other widths.
    """
    path = existing(path, "direction")
    is_plain = path.suffix.lower() in READERS
    direction: AnyDirection = (_load_vector(path, G) if is_plain else _load_stored(path)).to(G.device)
    direction.check_fits(G)
    if network is not None and direction.network is not None and network != direction.network:
        logging.warning(
            "direction %s was found in another network (%s.. instead of %s..); it holds where both have the same "
            "mapping and trunk",
            direction.name,
            direction.network[:8],
            network[:8],
        )
    return direction


def require_of_ws(direction: AnyDirection) -> Direction:
    """Return a direction in W or W+; raise UserError for one among paddings."""
    if not isinstance(direction, Direction):
        raise UserError(f"direction {direction.name} moves paddings, and here it takes one in w; give another")
    return direction


def parse_layers(text: str, num_ws: int) -> tuple[int, ...] | None:
    """Parse `all` (None) or `0-3,6` into sorted numbers of `ws`; raise UserError for numbers that are too large."""
    if text == "all":
        return None
    layers = tuple(sorted(set(integers(text))))
    if layers[-1] >= num_ws:
        raise UserError(f"--layers={text} names {layers[-1]}, must be from 0 to {num_ws - 1}, or all")
    return layers


def normalise(vector: Tensor) -> Tensor:
    """Return a vector `[w_dim]` at unit length, or `[num_ws, w_dim]` at a mean square length of one a row; float32.

    Raises UserError for a vector that is zero or not finite.
    """
    length = vector.double().square().sum(-1).mean().sqrt()
    if not (torch.isfinite(length) and length > 0):
        raise UserError(f"the direction has length {length.item():g}, must be finite and above 0; give another one")
    return (vector.double() / length).float()


def _load_vector(path: Path, G: Generator) -> Direction:
    """Return the direction in a file that holds nothing but its vector."""
    vector = read_vector(path)
    try:
        direction = Direction(normalise(vector), 0.0, path.stem, "given")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    direction.check_fits(G)
    return replace(direction, std=std_along(direction.vector, draw_w(G, MEASURED).cpu()))


def _load_stored(path: Path) -> AnyDirection:
    """Return what `save_direction` wrote."""
    try:
        values = read_header(path)
        values.pop("format_version")
        header = from_dict(DirectionHeader, values)
        tensors = {name: tensor.float() for name, tensor in load_tensors(path).items()}
        vector = torch.zeros(1) if header.space == "padding" else tensors["vector"]
    except (UserError, KeyError) as error:
        reason = "no tensor 'vector'" if isinstance(error, KeyError) else error.problem
        raise UserError(f"{path} holds no direction ({reason}); give one that `invert.py directions` wrote") from error
    if header.space == "padding":
        return _padding_direction(path, header, tensors)
    layers_fine = header.layers is None or (len(header.layers) > 0 and min(header.layers) >= 0)
    if vector.ndim not in (1, 2) or not torch.isfinite(vector).all() or header.std < 0 or not layers_fine:
        raise UserError(f"{path} is damaged; copy or make it again")
    return Direction(vector, header.std, header.name, header.method, header.layers, header.network, header.details)


def _padding_direction(path: Path, header: DirectionHeader, tensors: dict[str, Tensor]) -> PaddingDirection:
    if not tensors or any(tensor.ndim == 0 or len(tensor) != 1 for tensor in tensors.values()):
        raise UserError(f"{path} is damaged; copy or make it again")
    return PaddingDirection(Padding.from_tensors(tensors), header.name, header.method, header.network, header.details)
