"""Directions from pairs of photos before and after a change: `n = E(after) - E(before)` (Bai et al. 2022)."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from dnnlib.errors import UserError
from inversion.directions.direction import AnyDirection, Direction, normalise
from inversion.directions.padding_direction import PaddingDirection
from inversion.mixing import with_padding
from networks.generators.interface import Generator
from networks.latents import Latents, Padding, join

METHOD = "pair"


def pair_direction(
    G: Generator,
    before: Sequence[Latents],
    after: Sequence[Latents],
    space: Literal["padding", "ws"],
    name: str,
    network: str | None = None,
    details: dict[str, Any] | None = None,
) -> AnyDirection:
    """Return the mean difference of codes, each of one image; strength 1 is the whole of it.

    Args:
        G: network of the codes.
        before: codes before the change.
        after: codes after it, in the same order.
        space: which codes the direction moves.
        name: name of the direction.
        network: SHA-256 of the network's file.
        details: further entries of the direction's header.

    Raises UserError for codes without paddings where these are to move, and where nothing differs.
    """
    assert len(before) == len(after) > 0, f"{len(before)} codes before and {len(after)} after"
    if space == "ws":
        ws = [join([codes.bare().sharp() for codes in side]).ws for side in (after, before)]  # [pairs, num_ws, w_dim]
        change = (ws[0] - ws[1]).mean(0)  # [num_ws, w_dim]
        if not change.any():
            raise UserError("the photos before and after have the same w; give others")
        length = change.double().square().sum(-1).mean().sqrt().item()
        return Direction(normalise(change), length, name, METHOD, network=network, details=details or {})
    codes = [*before, *after]
    if any(each.padding is None for each in codes):
        raise UserError(
            "these codes have no paddings for a direction; give an encoder of kind padding (--encoder), or --space=ws"
        )
    names = sorted({name for each in codes for name in each.tensors()})
    filled = [[with_padding(G, each, names).padding for each in side] for side in (before, after)]
    steps = _mean(filled[1]), _mean(filled[0])
    padding = {name: steps[0][name] - steps[1][name] for name in steps[0]}
    if not any(step.any() for step in padding.values()):
        raise UserError("the photos before and after have the same paddings; give others")
    return PaddingDirection(Padding.from_tensors(padding), name, METHOD, network, details or {})


def _mean(paddings: Sequence[Padding | None]) -> dict[str, torch.Tensor]:
    """Return the mean of paddings of one row each, by name; all have the same tensors."""
    tensors = [padding.tensors() for padding in paddings if padding is not None]
    return {name: torch.stack([each[name] for each in tensors]).mean(0) for name in tensors[0]}
