"""Familiarity: whether a network knows what a photo shows, by how well its encoder's codes reconstruct the photo.

The encoder's header says how far reconstructions are from the photos that it was trained on, degraded as in training.
A photo whose own reconstruction is much farther shows something else. Features and paddings reconstruct anything; there
it also counts how far they lead away from the image of w alone, which shows nothing but what the network knows. The
header also says how much smoother the network's images of photos are than sharp photos.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from generation.rendering import render, synthesize
from images.datasets.dataset import ImageDataset
from images.ranges import from_levels
from inversion.encoders.encoder import Encoder
from inversion.fidelity.bands import detail_ratios, sigmas
from inversion.perceptual import Perceptual, default_perceptual
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.purposes import EncoderPurpose

PHOTOS = 64  # photos that an encoder's distances are measured on
PERCENTILES = {"p50": 50, "p99": 99}
COMMON = 2  # percentile of `detail`: nearly all sharp photos have more
MOST_DETAIL = 10.0  # greatest ratio of powers that a header may tell
MARGINS = {"reconstruction": 1.25, "content": 1.0}  # times the 99th percentile, beyond which a photo is strange


class Views(NamedTuple):
    """The images `[N, C, R, R]` of codes, within [-1, 1]: `G(w, q)`, and `G(w, 0)`."""

    reconstruction: Tensor
    sharp: Tensor


@torch.no_grad()
def views_of(G: Generator, latents: Latents) -> Views:
    """Return the images of codes; what their qualities share is computed once."""
    return Views(*(images.clamp(-1, 1) for images in render(G, latents, [latents.q, None])))


@torch.no_grad()
def distances_of(
    G: Generator, latents: Latents, views: Views, photos: Tensor, perceptual: Perceptual
) -> dict[str, Tensor]:
    """Return how far photos `[N, C, R, R]` in [-1, 1] are from what their codes' network knows, `[N]` by name.

    `reconstruction` is the perceptual distance from `G(w, q)`; `content`, where codes have features or paddings, that
    of the sharp image with them from the sharp image of w alone.
    """
    found = {"reconstruction": perceptual(views.reconstruction, photos)}
    if latents.padding is not None or latents.features is not None:
        of_w = dataclasses.replace(latents.sharp(), padding=None, features=None)
        found["content"] = perceptual(views.sharp, synthesize(G, of_w).clamp(-1, 1))
    return found


@torch.no_grad()
def usual_results(encoder: Encoder, G: Generator, dataset: ImageDataset, seed: int) -> dict[str, Any]:
    """Return what an encoder makes of photos spread over a data set, degraded as in training, for its header.

    Returns: percentiles of each of `distances_of`, and `detail`, how much more power nearly every sharp photo has than
        `G(w, 0)` in each band of `inversion.fidelity.bands`.
    """
    perceptual = default_perceptual(G.device)
    indices = range(0, dataset.num_images, max(1, dataset.num_images // PHOTOS))
    distances: list[dict[str, Tensor]] = []
    ratios = []
    for index in list(indices)[:PHOTOS]:
        pair = _pair(dataset, seed, index)
        sharp, photo = (from_levels(torch.from_numpy(np.array(image))[None].to(G.device)) for image in pair)
        latents = encoder(photo)
        views = views_of(G, latents)
        distances.append(distances_of(G, latents, views, photo, perceptual))
        ratios.append(detail_ratios(sharp, views.sharp))
    detail = np.percentile(torch.cat(ratios).cpu().numpy(), COMMON, axis=0)
    return {
        **{name: _percentiles(torch.cat([each[name] for each in distances])) for name in distances[0]},
        "detail": [float(ratio) for ratio in detail],
    }


def _percentiles(values: Tensor) -> dict[str, float]:
    return {name: float(np.percentile(values.cpu().numpy(), percent)) for name, percent in PERCENTILES.items()}


def _pair(dataset: ImageDataset, seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a sharp photo and its degraded version, twice the same where the data set has none."""
    if dataset.degradation is not None:
        return dataset.pair(index, (seed, EncoderPurpose.GRID, index))
    image = dataset.image(index)
    return image, image


def is_strange(distances: Mapping[str, float], header: dict[str, Any]) -> bool:
    """Whether one of a photo's `distances_of` is beyond those that the header of an encoder tells.

    Never where it tells none.
    """
    bounds = {name: (header.get(name) or {}).get("p99") for name in distances}
    known = {name: bound for name, bound in bounds.items() if isinstance(bound, int | float)}
    return any(distances[name] > MARGINS[name] * bound for name, bound in known.items())


def usual_detail(header: dict[str, Any], resolution: int) -> list[float] | None:
    """Return `detail` of an encoder's header, at least 1 in each band; None where there is none for this resolution."""
    detail = header.get("detail")
    if not isinstance(detail, list) or len(detail) != 1 + len(sigmas(resolution)):
        return None
    if not all(isinstance(ratio, int | float) and math.isfinite(ratio) for ratio in detail):
        return None
    return [min(max(float(ratio), 1.0), MOST_DETAIL) for ratio in detail]
