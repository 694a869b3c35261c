"""Running means of training statistics, kept on the device until they are read."""

from collections.abc import Callable

import torch
from torch import Tensor


class Statistics:
    """Sums of named values since the last reading."""

    def __init__(self, device: torch.device):
        self.device = device
        self.sums: dict[str, Tensor] = {}  # name -> [2]: number of values, their sum

    @torch.no_grad()
    def report(self, name: str, value: Tensor | float) -> None:
        """Add the elements of `value` to the statistic called `name`."""
        value = torch.as_tensor(value, dtype=torch.float32, device=self.device).detach()
        total = value.sum()
        total = torch.stack([torch.full_like(total, value.numel()), total])
        self.sums[name] = self.sums[name] + total if name in self.sums else total

    def read(self, reduce: Callable[[Tensor], Tensor] = lambda value: value) -> dict[str, float]:
        """Return the means since the last reading, over all processes, and reset them."""
        if not self.sums:
            return {}
        names = sorted(self.sums)
        count, total = reduce(torch.stack([self.sums[name] for name in names])).cpu().double().unbind(1)
        self.sums = {}
        return dict(zip(names, (total / count.clamp(min=1)).tolist(), strict=True))

    def state_dict(self, reduce: Callable[[Tensor], Tensor] = lambda value: value) -> dict[str, Tensor]:
        """Return the sums so far, over all processes, without those that a forgiven overflow has made infinite."""
        sums = {name: reduce(value.clone()) for name, value in sorted(self.sums.items())}
        return {name: value for name, value in sums.items() if value.isfinite().all()}

    def load_state_dict(self, state: dict[str, Tensor], keep_counts: bool = True) -> None:
        """Continue from saved sums. Of several processes one keeps them; the others count the same names from zero."""
        sums = {name: value.to(self.device) for name, value in state.items()}
        self.sums = sums if keep_counts else {name: torch.zeros_like(value) for name, value in sums.items()}
