"""Random numbers that depend on their purpose, never on the number of processes that share a batch."""

from collections.abc import Sequence

import numpy as np
import torch


def derive_seed(*key: int) -> int:
    """Mix integers (run seed, images seen, purpose, ...) into one 63-bit seed."""
    # The length is included because SeedSequence ignores trailing zeros of a key.
    return int(np.random.SeedSequence((len(key), *key)).generate_state(1, np.uint64)[0] >> 1)


class BatchRandom:
    """Random numbers for some rows of a batch.

    Each process draws for the whole batch and keeps its own rows. So two processes with four images each get exactly
    the numbers of one process with eight, and a resumed run gets those of an uninterrupted one. The time for the
    numbers that are thrown away is negligible beside the networks.

    Args:
        key: integers that identify the numbers' purpose, such as (run seed, images seen, phase).
        batch_size: number of images in the whole batch, over all processes and accumulation rounds.
        rows: rows of the batch that are returned; None returns all.
        device: device that draws the numbers.
        copies: how many batches there are, each with numbers of its own for these rows, one after the other.
        generator: source that is seeded by the key already; None: one is made.
    """

    def __init__(
        self,
        key: Sequence[int],
        batch_size: int,
        rows: slice | None = None,
        device: torch.device | str = "cpu",
        copies: int = 1,
        generator: torch.Generator | None = None,
    ):
        self.generator = generator or torch.Generator(device).manual_seed(derive_seed(*key))
        self.batch_size = batch_size
        self.rows = rows or slice(None)
        self.device = torch.device(device)
        self.copies = copies

    def __len__(self) -> int:
        return self.copies * len(range(*self.rows.indices(self.batch_size)))

    def randn(self, *shape: int) -> torch.Tensor:
        """Draw `[N, *shape]` from the standard normal distribution."""
        return self._select_rows(torch.randn(self._size(shape), generator=self.generator, device=self.device))

    def rand(self, *shape: int) -> torch.Tensor:
        """Draw `[N, *shape]` uniformly from [0, 1)."""
        return self._select_rows(torch.rand(self._size(shape), generator=self.generator, device=self.device))

    def randint(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Draw `[N, *shape]` integers from low..high-1."""
        size = self._size(shape)
        return self._select_rows(torch.randint(low, high, size, generator=self.generator, device=self.device))

    def _size(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.copies * self.batch_size, *shape

    def _select_rows(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's rows; of a part a copy, so that the rest can be freed."""
        if len(self) == len(batch):
            return batch
        return batch.unflatten(0, (self.copies, self.batch_size))[:, self.rows].flatten(0, 1).clone()
