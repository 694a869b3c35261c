"""Edit the content of images along a direction; their quality stays as it is (paper, section 3.5)."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError
from generation.rendering import render
from inversion.directions.direction import AnyDirection
from inversion.directions.following import YIELDING, follow
from inversion.mixing import with_padding
from networks.generators.interface import Generator, Noise
from networks.latents import Latents


def edit(
    G: Generator,
    latents: Latents,
    direction: AnyDirection,
    strength: float | Tensor,
    noise: Noise | None = None,
    yielding: float = YIELDING,
) -> Latents:
    """Return `w + strength * d`, and `q` as it was (Eq. 5 of the supplement).

    Features move by the difference that the edit makes in the network's own (Yao et al. 2022, Eq. 1), and yield to
    those where it moves what they show, see `inversion.directions.following`. Directions among paddings move those
    in the same way as others move `w`.

    Args:
        G: network that the codes are for.
        latents: codes of N images.
        direction: direction to edit along; it changes its own layers only.
        strength: strength for all images, or `[N]`; 1 is one standard deviation of sampled w. Where it is 0, the codes
            stay the same, bit for bit; so do features where the direction moves nothing that their layers read.
        noise: noise of the network's own features; None: the stored one.
        yielding: how far features yield, at least 0; 0 is Eq. 1 as published.

    Raises UserError for a direction of other widths, for a strength that is not finite, for a `yielding` that is
    negative or not finite, and for a direction among paddings where the codes have none.
    """
    require(0 <= yielding < math.inf, "yielding", yielding, "at least 0 and finite", "take for example 1")
    direction.check_fits(G)
    steps = direction.steps(G)
    before = _able_to_move(G, latents, direction, steps)
    tensors = before.tensors()
    strengths = torch.as_tensor(strength, dtype=latents.ws.dtype, device=latents.ws.device).expand(len(latents))  # [N]
    if not torch.isfinite(strengths).all():
        value = next(value for value in strengths.tolist() if not math.isfinite(value))
        raise UserError(f"the strength of {direction.name} is {value}, must be finite; take for example 2")
    moved = {name: _moved(tensors[name], strengths, step) for name, step in steps.items()}
    after = Latents.from_tensors(tensors | moved)
    if latents.features is None:
        return after
    return replace(after, features=follow(G, latents.features, before, after, noise, yielding))


@torch.no_grad()
def edited_images(
    G: Generator,
    latents: Latents,
    direction: AnyDirection,
    strength: float | Tensor,
    noise: Noise | None = None,
    yielding: float = YIELDING,
) -> tuple[Tensor, Tensor]:
    """Return the edited images with their quality kept, `G(w + s d, q)`, and their sharp versions, `G(w + s d, 0)`.

    Both are float32 `[N, C, R, R]`, nominally in [-1, 1]; `noise` None means the stored noise, and `yielding` is
    that of `edit`.
    """
    edited = edit(G, latents, direction, strength, noise, yielding)
    kept, sharp = render(G, edited, [edited.q, None], noise)
    return kept, sharp


def _able_to_move(G: Generator, latents: Latents, direction: AnyDirection, steps: dict[str, Tensor]) -> Latents:
    """Return the codes with all that a direction moves; what paddings lack is what the network has without them."""
    if all(name in latents.tensors() for name in steps):
        return latents
    if latents.padding is None:
        raise no_paddings(direction)
    return with_padding(G, latents, steps)


def no_paddings(direction: AnyDirection) -> UserError:
    """Return the error about a direction among paddings, for codes without."""
    return UserError(
        f"direction {direction.name} moves paddings, and these codes have none; give an encoder of kind padding, or a "
        "direction in w"
    )


def _moved(codes: Tensor, strengths: Tensor, step: Tensor) -> Tensor:
    """Return codes `[N, ...]` moved by `strengths [N]` times a step; the same bits where that is nothing."""
    change = strengths.view(-1, *[1] * step.ndim) * step.to(codes)
    return torch.where(change == 0, codes, codes + change)
