"""The one way from codes to images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from networks.generators.interface import Generator, Noise
from networks.latents import Latents


def render(
    G: Generator, latents: Latents, qualities: Sequence[Tensor | None], noise: Noise | None = None
) -> list[Tensor]:
    """Return the same content at several qualities, a batch of images for each of `qualities`.

    What precedes the DegradBlocks runs once. A row whose code is zero is the sharp image, bit for bit.

    Args:
        G: a QC generator, or a plain one, for which every quality must be None.
        latents: the content of N images; their own `q` has no effect.
        qualities: `[N, q_dim]` each, or None for sharp images.
        noise: every layer's; None: the stored one.

    Returns: float32 `[N, C, R, R]` for each of `qualities`, nominally in [-1, 1].
    """
    assert G.q_dim > 0 or all(q is None for q in qualities), "a plain generator has no quality code"
    noise = stored_noise(G, len(latents)) if noise is None else noise
    content = G.synthesis.content(latents, noise)
    sharp_rows = [_all_rows(latents) if q is None else q.eq(0).all(1) for q in qualities]
    sharp = G.synthesis.image(content) if any(rows.any() for rows in sharp_rows) else None
    images = []
    for q, rows in zip(qualities, sharp_rows, strict=True):
        if q is None or rows.all():
            assert sharp is not None, "some rows are sharp"
            images.append(sharp)
            continue
        degraded = G.synthesis.image(content, q)
        images.append(degraded if sharp is None else torch.where(rows[:, None, None, None], sharp, degraded))
    return images


def synthesize(G: Generator, latents: Latents, noise: Noise | None = None) -> Tensor:
    """Return the images `[N, C, R, R]` of codes, float32, nominally in [-1, 1]; `noise` None: the stored one."""
    return render(G, latents, [latents.q], noise)[0]


def stored_noise(G: Generator, count: int) -> Noise:
    """Return the noise that is stored with the network, for `count` images."""
    return G.synthesis.make_noise("const", count)


def _all_rows(latents: Latents) -> Tensor:
    """Return the mask of a batch without any quality code, bool `[N]`."""
    return torch.ones(len(latents), dtype=torch.bool, device=latents.ws.device)
