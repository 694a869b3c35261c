"""Rings: the outermost pixels of maps, row by row, which a convolution may read in place of zero padding."""

import torch
from torch import Tensor


def ring_size(side: int) -> int:
    """Return how many pixels a ring of width 1 has, in a square map of this side."""
    assert side >= 2, f"a map of side {side} has no ring"
    return 4 * (side - 1)


def ring_of(maps: Tensor) -> Tensor:
    """Return the ring of square maps `[N, C, S, S]` as `[N, C, 4 (S - 1)]`, row by row."""
    top, middle, bottom = maps.split([1, maps.shape[2] - 2, 1], dim=2)
    sides = middle[..., [0, -1]]  # [N, C, S - 2, 2]
    return torch.cat([top.flatten(2), sides.flatten(2), bottom.flatten(2)], dim=2)


def crop(maps: Tensor, side: int) -> Tensor:
    """Return the middle of square maps `[N, C, S, S]` as `[N, C, side, side]`."""
    first = (maps.shape[2] - side) // 2
    assert first >= 0, f"a map of side {maps.shape[2]} has no middle of side {side}"
    return maps[..., first : first + side, first : first + side]


def surround(x: Tensor, ring: Tensor) -> Tensor:
    """Return square maps `x [N, C, S, S]` within a ring `[N, C, 4 (S + 1)]`, `[N, C, S + 2, S + 2]`, channels_last."""
    side = x.shape[3] + 2
    assert ring.shape == (*x.shape[:2], ring_size(side)), f"a ring {list(ring.shape)} around {list(x.shape)}"
    top, sides, bottom = ring.to(x.dtype).split([side, 2 * (side - 2), side], dim=2)
    left, right = sides.unflatten(2, (side - 2, 2)).split(1, dim=3)  # [N, C, S, 1] each
    rows = torch.cat([left, x, right], dim=3)  # [N, C, S, S + 2]
    framed = torch.cat([top[:, :, None], rows, bottom[:, :, None]], dim=2)
    return framed.contiguous(memory_format=torch.channels_last)
