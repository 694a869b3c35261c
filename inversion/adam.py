"""Adam for the few tensors that are found for a photo: torch's own arithmetic, without the start of its compiler.

`torch.optim.Adam` imports that, which takes a second or two, longer than a photo is restored in.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam

EPS = 1e-8  # added to the root of the mean of squares


class _State(NamedTuple):
    """What Adam remembers of a leaf's gradients, and its learning rate."""

    lr: float
    mean: Tensor
    squares: Tensor
    steps: Tensor


class Adam:
    """Adam (Kingma and Ba 2015) over leaves that have a learning rate each; the same bits as torch's.

    Args:
        betas: decay of the means of gradients and of their squares, from 0 to below 1.

    Attributes:
        leaves: the tensors that it moves.
    """

    def __init__(self, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.betas = betas
        self.leaves: list[Tensor] = []
        self._states: list[_State] = []

    def add(self, leaves: Sequence[Tensor], lr: float) -> None:
        """Move these as well from now on, by the learning rate `lr`."""
        self.leaves += leaves
        for leaf in leaves:
            mean, squares = (torch.zeros_like(leaf, requires_grad=False) for _ in range(2))
            self._states.append(_State(lr, mean, squares, torch.zeros([])))

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], rate: float = 1.0) -> None:
        """Move `leaves` by their gradients, in the same order; those without one stay. Learning rates times `rate`."""
        for leaf, gradient, state in zip(self.leaves, gradients, self._states, strict=True):
            if gradient is not None:
                adam(
                    [leaf],
                    [gradient],
                    [state.mean],
                    [state.squares],
                    [],
                    [state.steps],
                    amsgrad=False,
                    beta1=self.betas[0],
                    beta2=self.betas[1],
                    lr=state.lr * rate,
                    weight_decay=0.0,
                    eps=EPS,
                    maximize=False,
                )
