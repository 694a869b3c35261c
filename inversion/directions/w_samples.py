"""Sampled `w`: what directions are found in, and what their strengths are measured by."""

from collections.abc import Sequence

import torch
from torch import Tensor

from generation.sampling import z_of_seeds
from networks.generators.interface import Generator
from torch_utils.purposes import FOR_DIRECTIONS
from torch_utils.seeding import BatchRandom

CHUNK = 1000  # latents that are mapped at once


def sample_w(G: Generator, seeds: Sequence[int], class_index: int | None = None) -> Tensor:
    """Return `w [N, w_dim]` of images number `seeds`, without truncation, on the network's device.

    Where a conditional network gets no class, image number `s` is of class `s mod c_dim`.
    """
    return _mapped(G, z_of_seeds(seeds, G.z_dim), seeds, class_index)


def draw_w(G: Generator, count: int, class_index: int | None = None) -> Tensor:
    """Return `w [count, w_dim]`, always the same, where it does not matter of which seeds; much faster."""
    z = BatchRandom(FOR_DIRECTIONS, count).randn(G.z_dim)
    return _mapped(G, z, range(count), class_index)


@torch.no_grad()
def _mapped(G, z, numbers, class_index):
    device = G.device
    parts = []
    for start in range(0, len(z), CHUNK):
        rows = slice(start, start + CHUNK)
        c = None
        if G.c_dim > 0:
            classes = [number % G.c_dim if class_index is None else class_index for number in numbers[rows]]
            c = G.one_hot(torch.tensor(classes, device=device))
        parts.append(G.mapping(z[rows].to(device), c)[:, 0])
    return torch.cat(parts)


def std_along(vector: Tensor, w: Tensor) -> float:
    """Return the standard deviation of the projections of `w [N, w_dim]` on a vector.

    A vector of several rows, `[L, w_dim]`, has the root mean square of theirs.
    """
    rows = vector.reshape(-1, vector.shape[-1]).double()
    projections = w.to(rows) @ rows.T  # [N, L]
    return projections.var(0).mean().sqrt().item()
