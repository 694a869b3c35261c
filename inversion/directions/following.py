"""Features follow an edit: they move as the network's own do, and yield to those where their content goes elsewhere.

What an encoder found beyond the network's own features, `F - G(w^{1:K})`, is of a place: the contour of this photo's
ear. Where an edit moves the head, it would stay behind as a ghost. It stays as far as the network shows the same there
before and after the edit.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.rendering import stored_noise
from networks.generators.interface import Generator, Noise
from networks.latents import Features, Latents

YIELDING = 1.0
NEIGHBOURS = 3  # side of the square of places that are compared together


def follow(
    G: Generator, features: Features, before: Latents, after: Latents, noise: Noise | None, yielding: float = YIELDING
) -> Features:
    """Return features after an edit, `G(w~^{1:K}) + s^yielding (F - G(w^{1:K}))`, `s` the `similarity` of both `G`.

    With `yielding` 0 that is `F + G(w~^{1:K}) - G(w^{1:K})`, Eq. 1 of Yao et al. 2022. Where an edit moves nothing that
    layers 1 to K read, features stay the same, bit for bit.

    Args:
        G: network that the codes are for.
        features: features `[N, C, H, W]` of layer K.
        before: codes of N images.
        after: edited codes.
        noise: noise of the network's own features; None: the stored one.
        yielding: at least 0.
    """
    old, new = (_read_before(features.layer, codes) for codes in (before, after))
    changed = torch.stack([(old[name] != new[name]).flatten(1).any(1) for name in old]).any(0)  # [N]
    if not changed.any():
        return features
    noise = stored_noise(G, len(before)) if noise is None else noise
    own = [G.synthesis.layer_output(codes, noise, features.layer).to(features.values) for codes in (before, after)]
    if yielding == 0:
        moved = features.values + (own[1] - own[0])
    else:
        moved = own[1] + similarity(*own) ** yielding * (features.values - own[0])
    return replace(features, values=torch.where(changed.view(-1, 1, 1, 1), moved, features.values))


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return how far features `[N, C, H, W]` show the same at each place, `[N, 1, H, W]` from 0 to 1.

    It is `2 <a, b> / (<a, a> + <b, b>)` over channels and neighbours, without each channel's mean, which a change of
    colours moves.
    """
    a, b = (each - each.mean((2, 3), keepdim=True) for each in (a, b))
    both = _around((a * b).sum(1, keepdim=True))
    powers = _around((a.square() + b.square()).sum(1, keepdim=True))
    return (2 * both / powers.clamp(min=torch.finfo(powers.dtype).tiny)).clamp(0, 1)


def _around(maps: Tensor) -> Tensor:
    """Return means over neighbours; beyond the border the edge repeats."""
    return F.avg_pool2d(F.pad(maps, (NEIGHBOURS // 2,) * 4, mode="replicate"), NEIGHBOURS, stride=1)


def _read_before(layer: int, latents: Latents) -> dict[str, Tensor]:
    """Return the codes that layers 1 to K read, by name; of paddings all."""
    paddings = {name: value for name, value in latents.tensors().items() if name.startswith("padding.")}
    return paddings | {"ws": latents.ws[:, :layer]}
