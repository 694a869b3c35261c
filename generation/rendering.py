"""The one way from codes to images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from images.ranges import to_uint8
from networks.frozen import FrozenSynthesis
from networks.generators.coordinates import Coordinates
from networks.generators.interface import Generator, Noise, ScaleFreeSynthesis
from networks.latents import Latents


def render(
    G: Generator,
    latents: Latents,
    qualities: Sequence[Tensor | None],
    noise: Noise | None = None,
    coords: Coordinates | None = None,
    frozen: FrozenSynthesis | None = None,
) -> list[Tensor]:
    """Return the same content at several qualities, a batch of images for each of `qualities`.

    What precedes the DegradBlocks runs once. A row whose code is zero is the sharp image, bit for bit.

    Args:
        G: a QC generator, or a plain one, for which every quality must be None.
        latents: the content of N images; their own `q` has no effect.
        qualities: `[N, q_dim]` each, or None for sharp images.
        noise: every layer's; None: the stored one.
        coords: where the pixels are, for a network that knows no grid; None: on the trained grid.
        frozen: the network's passes for many calls; None: its own.

    Returns: float32 `[N, C, R, R]`, or of the size of `coords`, for each of `qualities`, nominally in [-1, 1].
    """
    assert G.q_dim > 0 or all(q is None for q in qualities), "a plain generator has no quality code"
    noise = stored_noise(G, len(latents)) if noise is None else noise
    passes = G.synthesis if frozen is None else frozen
    content = (
        passes.content(latents, noise) if coords is None else _scale_free(G).content(latents, noise, coords=coords)
    )
    sharp_rows = [_all_rows(latents) if q is None else q.eq(0).all(1) for q in qualities]
    sharp = passes.image(content) if any(rows.any() for rows in sharp_rows) else None
    images = []
    for q, rows in zip(qualities, sharp_rows, strict=True):
        if q is None or rows.all():
            assert sharp is not None, "some rows are sharp"
            images.append(sharp)
            continue
        degraded = passes.image(content, q)
        images.append(degraded if sharp is None else torch.where(rows[:, None, None, None], sharp, degraded))
    return images


def render_uint8(
    G: Generator,
    latents: Latents,
    qualities: Sequence[Tensor | None],
    noise: Noise,
    coords: Coordinates | None = None,
    frozen: FrozenSynthesis | None = None,
) -> list[np.ndarray]:
    """Return what `render` does as uint8 `[N, H, W, C]` each.

    Sharp images at coordinates are made in strips, in memory that grows with a strip.
    """
    if coords is None or any(q is not None for q in qualities):
        return [to_uint8(images) for images in render(G, latents, qualities, noise, coords, frozen)]
    sharp = np.concatenate([to_uint8(strip) for strip in _scale_free(G).strips(latents.ws, coords)], axis=1)
    return [sharp] * len(qualities)


def synthesize(
    G: Generator,
    latents: Latents,
    noise: Noise | None = None,
    coords: Coordinates | None = None,
    frozen: FrozenSynthesis | None = None,
) -> Tensor:
    """Return the images `[N, C, R, R]` of codes, or of the size of `coords`, float32, nominally in [-1, 1].

    Sharp ones at coordinates are made in strips, and have no gradient. `noise` None: the stored one. `frozen`: the
    network's passes for many calls.
    """
    if coords is None or latents.q is not None:
        return render(G, latents, [latents.q], noise, coords, frozen)[0]
    return torch.cat(list(_scale_free(G).strips(latents.ws, coords)), dim=2)


def stored_noise(G: Generator, count: int) -> Noise:
    """Return the noise that is stored with the network, for `count` images."""
    return G.synthesis.make_noise("const", count)


def _scale_free(G: Generator) -> ScaleFreeSynthesis:
    assert isinstance(G.synthesis, ScaleFreeSynthesis), "coordinates are for networks that know no grid"
    return G.synthesis


def _all_rows(latents: Latents) -> Tensor:
    """Return the mask of a batch without any quality code, bool `[N]`."""
    return torch.ones(len(latents), dtype=torch.bool, device=latents.ws.device)
