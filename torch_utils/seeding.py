"""Random draws that depend on what they are for, never on how many processes share the batch."""

from collections.abc import Sequence

import numpy as np
import torch


def derive_seed(*key: int) -> int:
    """Mix integers (run seed, images seen, purpose, ...) into one 63-bit seed."""
    # The length is part of it, since trailing zeros of a key alone would not be.
    return int(np.random.SeedSequence((len(key), *key)).generate_state(1, np.uint64)[0] >> 1)


class BatchRandom:
    """Random numbers for some rows of a batch.

    Each process draws for the whole batch and keeps its own rows. So two processes with four images each see
    exactly what one process with eight would, a resumed run sees what an uninterrupted one would, and the draws
    that are thrown away cost next to nothing beside the networks.

    Args:
        key: integers that say what the draws are for, such as (run seed, images seen, phase).
        batch_size: images in the whole batch, over all processes and accumulation rounds.
        rows: the part of the batch that is wanted here (all of it when None).
        device: where the numbers are drawn.
    """

    def __init__(
        self, key: Sequence[int], batch_size: int, rows: slice | None = None, device: torch.device | str = "cpu"
    ):
        self.generator = torch.Generator(device).manual_seed(derive_seed(*key))
        self.batch_size, self.rows, self.device = batch_size, rows or slice(None), torch.device(device)

    def __len__(self) -> int:
        return len(range(*self.rows.indices(self.batch_size)))

    def randn(self, *shape: int) -> torch.Tensor:
        """Draw `[N, *shape]` from the standard normal distribution."""
        return self._own(torch.randn(self.batch_size, *shape, generator=self.generator, device=self.device))

    def rand(self, *shape: int) -> torch.Tensor:
        """Draw `[N, *shape]` uniformly from [0, 1)."""
        return self._own(torch.rand(self.batch_size, *shape, generator=self.generator, device=self.device))

    def randint(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Draw `[N, *shape]` integers from low..high-1."""
        size = (self.batch_size, *shape)
        return self._own(torch.randint(low, high, size, generator=self.generator, device=self.device))

    def _own(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's rows; a copy of a part, so that the rest can be freed."""
        return batch if len(self) == self.batch_size else batch[self.rows].clone()
