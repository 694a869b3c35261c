"""What is stored of a photo: its codes, and how the generator was tuned for it, as a difference to the network."""

import copy
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.reading import explained
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.checkpoint import load_tensors, read_header, save_tensors

KIND = "inversion"
TUNED = "tuned."  # begins the names of differences in a file
STORED = torch.float16  # type of differences: 11 bits, and steps of 6e-8 next to zero


@dataclass(frozen=True, eq=False)
class TunedWeights:
    """A generator tuned for one photo, as the difference to the network it comes from.

    Attributes:
        differences: float16, by the parameter's name in the generator; only of those that moved.
    """

    differences: dict[str, Tensor]

    @classmethod
    def between(cls, G: Generator, parameters: dict[str, Tensor]) -> "TunedWeights":
        """Return what is to be added to parameters of `G` to become `parameters`, on the CPU."""
        base = dict(G.named_parameters())
        moved = {name: (value.detach() - base[name].detach()).to("cpu", STORED) for name, value in parameters.items()}
        return cls({name: difference for name, difference in moved.items() if difference.any()})


def apply(G: Generator, tuned: TunedWeights) -> Generator:
    """Return a generator with the tuned weights; it shares all other memory with `G`, which stays as it is.

    Raises UserError where a difference belongs to no parameter of `G`.
    """
    shapes = {name: parameter.shape for name, parameter in G.named_parameters()}
    for name, difference in tuned.differences.items():
        if shapes.get(name) != difference.shape:
            raise UserError(f"this network has no {name} {list(difference.shape)} to tune; take the network tuned")
    tensors = itertools.chain(G.named_parameters(), G.named_buffers())
    shared = {id(tensor): tensor for name, tensor in tensors if name not in tuned.differences}
    other = copy.deepcopy(G, shared)
    with torch.no_grad():
        for name, difference in tuned.differences.items():
            other.get_parameter(name).add_(difference.to(other.get_parameter(name)))
    return other


@dataclass(frozen=True, eq=False)
class Inversion:
    """What was found for one photo.

    Attributes:
        latents: codes of one image.
        tuned: None: the network as it is.
        photo: name of the photo.
        settings: how it was found, as JSON.
    """

    latents: Latents
    tuned: TunedWeights | None = None
    photo: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert len(self.latents) == 1, f"{len(self.latents)} images in one inversion"


def save_inversion(path: str | os.PathLike, inversion: Inversion, network_path: str | os.PathLike) -> None:
    """Write an inversion as safetensors, in one step; its header names the network by its SHA-256."""
    latents, tuned = inversion.latents, inversion.tuned
    tensors = latents.tensors()
    if tuned is not None:
        tensors |= {TUNED + name: difference for name, difference in tuned.differences.items()}
    header = {
        "kind": KIND,
        "network": sha256(network_path),
        "photo": inversion.photo,
        "is_tuned": tuned is not None,
        "settings": inversion.settings,
    }
    save_tensors(path, tensors, header)


def load_inversion(path: str | os.PathLike, network_path: str | os.PathLike, G: Generator | None = None) -> Inversion:
    """Return what `save_inversion` wrote, on the CPU.

    Raises UserError for any other file, for an inversion into another network than that at `network_path`, and for
    codes that this network, `G`, does not take.
    """
    header = read_header(path)
    if header.get("kind") != KIND:
        raise UserError(f"{path} is no inversion of a photo; give a file that an inversion wrote")
    if header.get("network") != sha256(network_path):
        raise UserError(f"{path} was made with another network than {network_path}; give that one, or invert again")
    tensors = load_tensors(path)
    tuned = {name.removeprefix(TUNED): tensor for name, tensor in tensors.items() if name.startswith(TUNED)}
    latents = codes_among(path, tensors, "invert the photo again", G)
    with explained(lambda: str(path), "invert the photo again"):
        return Inversion(
            latents, TunedWeights(tuned) if header["is_tuned"] else None, str(header["photo"]), dict(header["settings"])
        )


def codes_among(
    path: str | os.PathLike, tensors: Mapping[str, Tensor], cure: str, G: Generator | None = None
) -> Latents:
    """Return the codes among the tensors of a file.

    Args:
        path: path of the file, for errors.
        tensors: tensors by name; those that are no codes have no effect.
        cure: what to do where they are damaged.
        G: network that is to take them; None: any.

    Raises UserError for codes that are damaged, and for those that the network does not take.
    """
    with explained(lambda: str(path), cure):
        latents = Latents.from_tensors(tensors)
        for name, value in latents.tensors().items():
            if not value.is_floating_point():
                raise ValueError(f"{name} has {value.dtype} for numbers")
    problem = None if G is None else G.misfit({name: value.shape[1:] for name, value in latents.tensors().items()})
    if problem is not None:
        raise UserError(f"{path} holds {problem}; {cure}")
    return latents
