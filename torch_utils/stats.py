"""Running means of training statistics, kept on the device until they are read."""

from collections.abc import Callable

import torch
from torch import Tensor

from torch_utils.scalar_sums import ScalarSums


class Statistics:
    """Numbers and sums of named values since the last reading."""

    def __init__(self, device: torch.device):
        self.device = device
        self.counts: dict[str, int] = {}
        self.sums = ScalarSums[str]()

    @torch.no_grad()
    def report(self, name: str, value: Tensor | float) -> None:
        """Add the elements of `value` to the statistic called `name`; nobody may change a scalar afterwards."""
        if not isinstance(value, Tensor):
            value = torch.full([], value, device=self.device)  # unlike a copy from the host it waits for no GPU
        value = value.detach().to(self.device, torch.float32)
        self.counts[name] = self.counts.get(name, 0) + value.numel()
        self.sums.add(name, value.sum() if value.ndim else value)

    def read(self, reduce: Callable[[Tensor], Tensor] = lambda value: value) -> dict[str, float]:
        """Return the means since the last reading, over all processes, and reset them."""
        if not self.counts:
            return {}
        table = self._table(reduce).cpu().double()
        names = sorted(self.counts)
        self.counts = {}
        self.sums.restart()
        count, total = table.unbind(1)
        return dict(zip(names, (total / count.clamp(min=1)).tolist(), strict=True))

    def state_dict(self, reduce: Callable[[Tensor], Tensor] = lambda value: value) -> dict[str, Tensor]:
        """Return number and sum `[2]` of each so far, over all processes; what an overflow has spoiled is left out."""
        if not self.counts:
            return {}
        table = self._table(reduce)
        finite = table.isfinite().all(1).tolist()
        rows = zip(sorted(self.counts), table.unbind(), finite, strict=True)
        return {name: row.clone() for name, row, is_finite in rows if is_finite}

    def load_state_dict(self, state: dict[str, Tensor], keep_counts: bool = True) -> None:
        """Continue from saved sums. Of several processes one keeps them; the others count the same names from zero."""
        state = state if keep_counts else {name: torch.zeros_like(value) for name, value in state.items()}
        self.counts = {name: int(value[0]) for name, value in state.items()}
        self.sums.restart({name: value[1].to(self.device) for name, value in state.items()})

    def _table(self, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """Return number and sum of each, float32 `[names, 2]`, sorted by name, over all processes."""
        names, sums = sorted(self.counts), self.sums.read()
        counts = torch.tensor([self.counts[name] for name in names], dtype=torch.float32, device=self.device)
        return reduce(torch.stack([counts, torch.stack([sums[name] for name in names])], dim=1))
