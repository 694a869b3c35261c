"""Walks between images: through quality codes, through contents, and into an image, with all else kept."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from generation.rendering import render_uint8
from networks.generators.coordinates import Coordinates
from networks.generators.interface import Generator, Noise
from networks.latents import Latents


def path_through(keys: Tensor, steps: int) -> Tensor:
    """Return points on the straight lines between `keys [K, ...]`, `steps` from each key to the next.

    Returns: `[(K - 1) * steps + 1, ...]`; keys are met exactly.
    """
    assert steps >= 1, f"{steps} steps lead nowhere"
    shares = torch.arange(steps, device=keys.device, dtype=keys.dtype) / steps
    weights = shares.view(1, steps, *[1] * (keys.ndim - 1))
    points = keys[:-1, None].lerp(keys[1:, None], weights)  # [K - 1, steps, ...]
    return torch.cat([points.flatten(0, 1), keys[-1:]])


def quality_path(codes: Tensor, steps: int) -> Tensor:
    """Return the path from sharp (q = 0) through `codes [K, q_dim]`, `[K * steps + 1, q_dim]`."""
    return path_through(torch.cat([torch.zeros_like(codes[:1]), codes]), steps)


def content_loop(ws: Tensor, steps: int) -> Tensor:
    """Return the closed path through `ws [S, num_ws, w_dim]`, `[S * steps, num_ws, w_dim]`; its end meets its start."""
    return path_through(torch.cat([ws, ws[:1]]), steps)[:-1]


@torch.no_grad()
def frames(
    G: Generator, ws: Tensor, q: Tensor | None, noise: Noise, batch: int, coords: Coordinates | None = None
) -> Iterator[np.ndarray]:
    """Yield the images along a path, one at a time, uint8 `[H, W, C]`; the network sees `batch` at once.

    Args:
        G: the generator.
        ws: `[T, num_ws, w_dim]`, or `[1, num_ws, w_dim]` where the content is kept.
        q: `[T, q_dim]`, `[1, q_dim]` where the quality is kept, or None for sharp images.
        noise: noise of one image, the same throughout.
        batch: images in one pass.
        coords: where the pixels of all images are; None: on the trained grid.
    """
    count = max(len(ws), 1 if q is None else len(q))
    ws = ws.expand(count, -1, -1)
    q = None if q is None else q.expand(count, -1)
    for first in range(0, count, batch):
        rows = slice(first, first + batch)
        yield from render_uint8(G, Latents(ws[rows]), [None if q is None else q[rows]], noise, coords)[0]


@torch.no_grad()
def zoom(G: Generator, ws: Tensor, q: Tensor | None, noise: Noise, path: Sequence[Coordinates]) -> Iterator[np.ndarray]:
    """Yield one image `ws [1, num_ws, w_dim]`, `q [1, q_dim]` at one frame after another, uint8 `[H, W, C]`."""
    for coords in path:
        yield from render_uint8(G, Latents(ws), [q], noise, coords)[0]
