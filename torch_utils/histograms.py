"""Histograms of training statistics, counted on the device until they are read."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

REACH = 20.0  # values beyond are counted at the ends
BINS = 80


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values.

    Attributes:
        edges: float64 `[BINS + 1]`, the limits of the bins.
        counts: int64 `[BINS]`.
    """

    edges: np.ndarray
    counts: np.ndarray


class Histograms:
    """Counts of named values since the last reading, in bins from -REACH to REACH."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.limits = torch.linspace(-REACH, REACH, BINS + 1, device=device)[1:-1]  # between two bins
        self.counts: dict[str, Tensor] = {}  # name -> int64 [BINS]

    @torch.no_grad()
    def report(self, name: str, values: Tensor) -> None:
        """Count the elements of `values` under `name`; NaN counts as 0."""
        bins = torch.bucketize(values.detach().flatten().float().nan_to_num(), self.limits, right=True)
        if name not in self.counts:
            self.counts[name] = torch.zeros(BINS, dtype=torch.int64, device=self.device)
        self.counts[name].scatter_(0, bins, 1, reduce="add")  # unlike bincount it waits for no GPU

    def read(self, reduce: Callable[[Tensor], Tensor] = lambda value: value) -> dict[str, Histogram]:
        """Return the histograms since the last reading, over all processes, and begin anew."""
        if not self.counts:
            return {}
        names = sorted(self.counts)
        counts = reduce(torch.stack([self.counts[name] for name in names])).cpu().numpy()  # [names, BINS]
        self.counts = {}
        edges = np.linspace(-REACH, REACH, BINS + 1)
        return {name: Histogram(edges, row) for name, row in zip(names, counts, strict=True)}
