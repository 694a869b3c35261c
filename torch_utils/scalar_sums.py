"""Running sums of named scalars on a device, of which one launch adds many."""

from collections.abc import Hashable
from typing import Generic, TypeVar

import torch
from torch import Tensor

Name = TypeVar("Name", bound=Hashable)


class ScalarSums(Generic[Name]):
    """Sums of scalars by name.

    A scalar waits until its name comes again or the sums are read; then all that wait are added at once. The scalars of
    a name are added one after the other whenever that happens, so that the sums have the same bits.

    Args:
        factor: what scalars are multiplied by.
    """

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self._sums: dict[Name, Tensor] = {}
        self._waiting: dict[Name, Tensor] = {}

    @torch.no_grad()
    def add(self, name: Name, scalar: Tensor) -> None:
        """Add a scalar `[]`, float32, which nobody may change from now on; all are on one device."""
        assert scalar.ndim == 0 and scalar.dtype == torch.float32, f"{name} is {scalar.dtype} {list(scalar.shape)}"
        if name in self._waiting:
            self._add_waiting()
        self._waiting[name] = scalar.detach()

    def read(self) -> dict[Name, Tensor]:
        """Return the sums, float32 `[]` each, in the order in which their names first came."""
        self._add_waiting()
        return dict(self._sums)

    def restart(self, sums: dict[Name, Tensor] | None = None) -> None:
        """Forget all sums, and begin from others where they are given."""
        self._sums, self._waiting = dict(sums or {}), {}

    @torch.no_grad()
    def _add_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        new = [name for name in waiting if name not in self._sums]
        if new:
            device = next(iter(waiting.values())).device
            self._sums.update(zip(new, torch.zeros(len(new), device=device).unbind(), strict=True))
        sums = torch._foreach_add([self._sums[name] for name in waiting], list(waiting.values()), alpha=self.factor)
        self._sums.update(zip(waiting, sums, strict=True))
