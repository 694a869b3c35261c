"""Stop at the first NaN or infinity, before it reaches a file."""

import torch
from torch import Tensor, nn

from dnnlib.errors import UserError


class FiniteGuard:
    """Notes on the device which losses were not finite; reading the notes is left to the caller's pace."""

    def __init__(self):
        self.flags: dict[tuple[str, str], Tensor] = {}

    @torch.no_grad()
    def watch(self, phase: str, name: str, value: Tensor) -> None:
        """Note whether the tensor called `name` is finite in this phase."""
        bad = ~torch.isfinite(value.detach()).all()
        key = phase, name
        self.flags[key] = self.flags[key] | bad if key in self.flags else bad

    def check(self, networks: dict[str, nn.Module]) -> None:
        """Raise UserError when a loss or a weight was not finite since the last check; name it and its phase."""
        if self.flags and torch.stack(list(self.flags.values())).any():
            bad = [key for key, flag in self.flags.items() if flag]
            self.flags = {}
            raise _not_finite(*bad[0])
        self.flags = {}
        for phase, network in networks.items():
            named = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
            norms = torch._foreach_norm([value.detach() for _, value in named])
            if not torch.isfinite(torch.stack(norms)).all():
                name = next(name for (name, _), norm in zip(named, norms, strict=True) if not torch.isfinite(norm))
                raise _not_finite(phase, f"weight {name}")


def _not_finite(phase, name):
    return UserError(
        f"{name} became NaN or infinite in phase {phase}; the last saved state is untouched: continue from it with "
        "a lower learning rate, or a higher --gamma"
    )
