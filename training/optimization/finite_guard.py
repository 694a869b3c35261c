"""Stop at the first NaN or infinity, before it reaches a file."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dnnlib.errors import UserError
from torch_utils.finite import first_not_finite
from torch_utils.scalar_sums import ScalarSums

CURE = (
    "the last saved state is untouched: start a new run in another --outdir with --init-from=its newest network and a "
    "lower --lr or a higher --gamma"
)


class FiniteGuard:
    """Notes on the device which losses were not finite; reading the notes is left to the caller's pace."""

    def __init__(self) -> None:
        self.flags = ScalarSums[tuple[str, str]](factor=0.0)  # 0, or NaN from a value on that was not finite

    @torch.no_grad()
    def watch(self, phase: str, name: str, value: Tensor) -> None:
        """Note whether the tensor called `name` is finite in this phase; nobody may change a scalar afterwards."""
        value = value.detach().float()
        self.flags.add((phase, name), (value * 0).sum() if value.ndim else value)

    def check(
        self, networks: Mapping[str, nn.Module], reduce: Callable[[Tensor], Tensor] = lambda value: value
    ) -> None:
        """Raise UserError when a loss or a weight was not finite since the last check; name it and its phase.

        `reduce` sums a tensor over all processes, so that all of them raise.
        """
        flags = self.flags.read()
        self.flags.restart()
        if flags:
            sums = reduce(torch.stack(list(flags.values()))).tolist()
            for key, total in zip(flags, sums, strict=True):
                if math.isnan(total):
                    raise _not_finite(*key)
        for phase, network in networks.items():
            named = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
            norms = torch._foreach_norm([value.detach() for _, value in named])
            if not torch.isfinite(torch.stack(norms)).all():
                name = next(name for (name, _), norm in zip(named, norms, strict=True) if not torch.isfinite(norm))
                raise _not_finite(phase, f"weight {name}")


def require_finite(state: dict[str, Any], parameters: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError when anything of a state is NaN or infinite; name it.

    Args:
        state: nested dicts and lists.
        parameters: names of the parameters of each optimizer, by its place in the state.
    """
    bad = first_not_finite(state)
    if bad is None:
        return
    place = re.fullmatch(r"(.+)\.state\[(\d+)\]\.(\w+)", bad)
    if place is not None and place[1] in parameters:
        bad = f"{place[3]} of {parameters[place[1]][int(place[2])]} in {place[1]}"
    raise UserError(f"{bad} became NaN or infinite; {CURE}")


def _not_finite(phase: str, name: str) -> UserError:
    return UserError(f"{name} became NaN or infinite in phase {phase}; {CURE}")
