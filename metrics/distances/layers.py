"""Distances between the features of several layers of a network."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_distance(maps_a: Sequence[Tensor], maps_b: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers of 1 - the cosine of the flattened features, `[N]` (feature-style, Eqs. 6 and 7).

    Args:
        maps_a: features of each layer, `[N, ...]`.
        maps_b: maps of the same shapes.
    """
    cosines = [F.cosine_similarity(a.flatten(1), b.flatten(1)) for a, b in zip(maps_a, maps_b, strict=True)]
    return (1 - torch.stack(cosines)).sum(0)
