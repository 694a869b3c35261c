"""Directions in the space of paddings: what changes where things are (Bai et al. 2022, customised editing)."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from networks.generators.interface import Generator
from networks.latents import Padding


@dataclass(frozen=True, eq=False)
class PaddingDirection:
    """A direction among the paddings of a network.

    Attributes:
        padding: step of strength 1, in tensors of one row each.
        name: name of what changes; also the name of the file.
        method: name of the method that found the direction.
        network: SHA-256 of the network file in which the direction was found, or None.
        details: further entries of the file's header, as JSON.
    """

    padding: Padding
    name: str
    method: str
    network: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.padding.tensors().items():
            assert len(value) == 1, f"{name} has shape {list(value.shape)}, not one row"

    def to(self, device: torch.device | str) -> "PaddingDirection":
        """Return the direction on a device."""
        tensors = {name: value.to(device) for name, value in self.padding.tensors().items()}
        return replace(self, padding=Padding.from_tensors(tensors))

    def steps(self, G: Generator) -> dict[str, Tensor]:
        """Return the step of strength 1, without rows, of each code that it moves, by its name in `Latents`."""
        return {f"padding.{name}": value[0] for name, value in self.padding.tensors().items()}

    def check_fits(self, G: Generator) -> None:
        """Raise UserError unless the network takes such paddings."""
        problem = G.misfit({name: tuple(step.shape) for name, step in self.steps(G).items()})
        if problem is not None:
            raise UserError(f"direction {self.name} has {problem}; take one that was made for this network")
