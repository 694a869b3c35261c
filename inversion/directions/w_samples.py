"""Sampled `w`, in which directions are found, and on which their strengths are measured."""

from collections.abc import Sequence

import torch
from torch import Tensor

from generation.sampling import z_of_seeds
from networks.generators.interface import Generator
from torch_utils.purposes import FOR_DIRECTIONS
from torch_utils.seeding import BatchRandom

CHUNK = 1000  # latents that are mapped at once


def sample_w(G: Generator, seeds: Sequence[int], class_index: int | None = None) -> Tensor:
    """Return `w [N, w_dim]` of the images with `seeds`, without truncation, on the network's device.

    Without `class_index`, the image with seed `s` of a conditional network is of class `s mod c_dim`.
    """
    return _map_latents(G, z_of_seeds(seeds, G.z_dim), seeds, class_index)


def draw_w(G: Generator, count: int, class_index: int | None = None) -> Tensor:
    """Return `w [count, w_dim]`, always the same and of no particular seeds, which is much faster."""
    z = BatchRandom(FOR_DIRECTIONS, count).randn(G.z_dim)  # [count, z_dim]
    return _map_latents(G, z, range(count), class_index)


@torch.no_grad()
def _map_latents(G: Generator, z: Tensor, numbers: Sequence[int], class_index: int | None) -> Tensor:
    """Return `w [N, w_dim]` of `z [N, z_dim]`; without `class_index` the class follows from `numbers`."""
    parts = []
    for start in range(0, len(z), CHUNK):
        rows = slice(start, start + CHUNK)
        c = None
        if G.c_dim > 0:
            classes = [number % G.c_dim if class_index is None else class_index for number in numbers[rows]]
            c = G.one_hot(torch.tensor(classes, device=G.device))  # [n, c_dim]
        parts.append(G.mapping(z[rows].to(G.device), c)[:, 0])  # [n, w_dim]
    return torch.cat(parts)


def std_along(vector: Tensor, w: Tensor) -> float:
    """Return the standard deviation of the projections of `w [N, w_dim]` on a vector.

    For a vector of several rows, `[L, w_dim]`, it is the root mean square of their standard deviations.
    """
    rows = vector.reshape(-1, vector.shape[-1]).double()
    projections = w.to(rows) @ rows.T  # [N, L]
    return projections.var(0).mean().sqrt().item()
