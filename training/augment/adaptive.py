"""The adaptive strength of augmentation (Karras et al. 2020, "Training GANs with Limited Data", section 3.1)."""

from collections.abc import Callable

import torch
from torch import Tensor


def _identity(value: Tensor) -> Tensor:
    return value


class AdaptiveStrength:
    """Moves the augmentation probability p so that r_t = E[sign(D(real))] stays at its target.

    Every `interval` steps, p goes up by a fixed amount when r_t is above the target (the discriminator overfits), and
    down when it is below. Nothing here makes the host wait for the device.

    Args:
        p: scalar tensor, changed in place and kept in 0..1.
        target: r_t aimed at.
        batch_size: images in a step, over all processes.
        interval: steps between adjustments.
        kimg: thousands of images after which p can have gone from 0 to 1.
        reduce: sums a tensor over all processes.
    """

    def __init__(
        self,
        p: Tensor,
        target: float,
        batch_size: int,
        interval: int = 4,
        kimg: float = 500.0,
        reduce: Callable[[Tensor], Tensor] = _identity,
    ):
        self.p = p
        self.target = target
        self.interval = interval
        self.reduce = reduce
        self.increment = batch_size * interval / (kimg * 1000)
        self.steps = 0
        self.seen = torch.zeros(2, device=p.device)  # sum of the signs, their number

    @torch.no_grad()
    def observe(self, logits: Tensor) -> None:
        """Count the signs of `logits`, any shape: the discriminator's logits for augmented real images."""
        self.seen[0] += logits.sign().sum()
        self.seen[1] += logits.numel()

    @torch.no_grad()
    def step(self) -> None:
        """End a training step; adjust p when `interval` steps are over."""
        self.steps += 1
        if self.steps % self.interval:
            return
        signs, count = self.reduce(self.seen)
        direction = (signs - self.target * count).sign()  # that of r_t - target, and zero when nothing was seen
        self.p.add_(direction, alpha=self.increment).clamp_(0, 1)
        self.seen.zero_()

    def state_dict(self, alone: bool = False) -> dict[str, Tensor]:
        """Return all that a resumed run needs; counts are those of all processes, or with `alone` of this one."""
        seen = self.seen.clone() if alone else self.reduce(self.seen.clone())
        return {"p": self.p.clone(), "steps": torch.tensor(self.steps), "seen": seen}

    def load_state_dict(self, state: dict[str, Tensor], keep_counts: bool = True) -> None:
        """Take up a state in place; p stays the tensor that the augmentation reads. One process keeps the counts."""
        self.p.copy_(state["p"])
        self.seen.copy_(state["seen"] if keep_counts else torch.zeros_like(self.seen))
        self.steps = int(state["steps"])
