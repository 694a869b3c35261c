"""Edit the content of images along a direction; their quality stays as it is (paper, section 3.5)."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from dnnlib.errors import UserError
from generation.rendering import render
from inversion.directions.direction import Direction
from networks.generators.interface import Generator, Noise
from networks.latents import Latents


def edit(G: Generator, latents: Latents, direction: Direction, strength: float | Tensor) -> Latents:
    """Return `w + strength * d`, and `q` as it was (Eq. 5 of the supplement).

    Args:
        G: network that the codes are for.
        latents: codes of N images.
        direction: direction to edit along; it changes its own layers only.
        strength: strength for all images, or `[N]`; 1 is one standard deviation of sampled w. Where it is 0, the codes
            stay the same, bit for bit.

    Raises UserError for a direction of other widths, and for a strength that is not finite.
    """
    direction.check_fits(G)
    ws = latents.ws
    strengths = torch.as_tensor(strength, dtype=ws.dtype, device=ws.device).expand(len(ws))  # [N]
    if not torch.isfinite(strengths).all():
        value = next(value for value in strengths.tolist() if not math.isfinite(value))
        raise UserError(f"the strength of {direction.name} is {value}, must be finite; take for example 2")
    change = strengths[:, None, None] * direction.step(ws.shape[1]).to(ws)  # [N, num_ws, w_dim]
    return replace(latents, ws=torch.where(change == 0, ws, ws + change))


@torch.no_grad()
def edited_images(
    G: Generator, latents: Latents, direction: Direction, strength: float | Tensor, noise: Noise | None = None
) -> tuple[Tensor, Tensor]:
    """Return the edited images with their quality kept, `G(w + s d, q)`, and their sharp versions, `G(w + s d, 0)`.

    Both are float32 `[N, C, R, R]`, nominally in [-1, 1]; `noise` None means the stored noise.
    """
    edited = edit(G, latents, direction, strength)
    kept, sharp = render(G, edited, [edited.q, None], noise)
    return kept, sharp
