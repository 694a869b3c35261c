"""What a format reads out of a published file, and what all formats share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError
from torch_utils.untrusted.arrays import PickledArray
from torch_utils.untrusted.pickles import Names, dict_like, records

# What files of all formats may ask for beside containers, arrays and tensors. None of it is ever imported.
CLASSES: Names = {
    **dict_like(("dnnlib", "EasyDict"), ("dnnlib.util", "EasyDict")),
    **records(
        ("torch_utils.persistence", "_reconstruct_persistent_obj"),
        ("dnnlib.tflib.network", "Network"),
        ("torch.nn.modules.container", "ModuleDict"),
        ("torch.nn.modules.container", "ModuleList"),
        ("torch.nn.modules.container", "Sequential"),
        ("torch.nn.modules.conv", "Conv2d"),
        ("torch.nn.modules.linear", "Identity"),
        ("torch.nn.modules.linear", "Linear"),
    ),
}
MOST_TENSORS = 10_000


@dataclass(frozen=True)
class NetworkContent:
    """One network: its tensors by this program's names, float32, and what its shapes do not tell.

    `settings` are fields of `GeneratorConfig` or `DiscriminatorConfig` by dotted name; `unused` names tensors of the
    file that do nothing, and are left out.
    """

    tensors: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """A file's networks. Discriminators go by stream, `sharp` and `degraded`; there may be none."""

    G: NetworkContent
    discriminators: dict[str, NetworkContent] = field(default_factory=dict)


def shown(value: Any) -> str:
    """Return something of a file for a message: one short line whatever it is."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return ascii(value)[:80]
    return f"a {type(value).__name__}"


def as_tensors(values: Iterable[tuple[str, Any]], file_size: int) -> dict[str, Tensor]:
    """Return tensors and arrays of a file as float32, by name.

    Raises UserError, a sentence without its subject, for other things, for NaN and infinity, and where they are more
    than the file holds, since one storage can be many tensors.
    """
    named = dict(values)
    if len(named) > MOST_TENSORS:
        raise UserError(f"has more than {MOST_TENSORS:,} tensors, no network has; it is not opened")
    elements = 0
    for name, value in named.items():
        numbers = value.values if isinstance(value, PickledArray) else value
        if not isinstance(name, str) or not isinstance(numbers, (Tensor, np.ndarray)):
            raise UserError(f"has {shown(value)} in the place of the tensor {shown(name)}; it is no network")
        elements += numbers.numel() if isinstance(numbers, Tensor) else numbers.size
    if 2 * elements > file_size:  # a number takes two bytes at least
        raise UserError("has tensors that share their numbers, no network does; it is not opened")
    tensors = {name: _float32(value) for name, value in named.items()}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"has NaN or infinity in the tensor {shown(name)}; copy or download it again")
    return tensors


def require_options(given: Mapping[str, Any], fixed: Mapping[str, tuple], free: Iterable[str]) -> None:
    """Raise UserError, a sentence without its subject, for an option that this program's networks do not have.

    Args:
        given: options by name.
        fixed: the values that an option may have.
        free: those whose value does not matter here, since shapes or settings tell it.
    """
    free = frozenset(free)
    for name, value in given.items():
        value = list(value) if isinstance(value, tuple) else value
        if name not in free and not (name in fixed and value in fixed[name]):
            raise UserError(
                f"has a network with the option {shown(name)} = {shown(value)}, which this program's networks do not "
                "have"
            )


def _float32(value: Tensor | PickledArray) -> Tensor:
    if isinstance(value, PickledArray):
        assert value.values is not None, "arrays without numbers have been refused"
        return torch.from_numpy(value.values.astype(np.float32))
    return value.to(torch.float32)
