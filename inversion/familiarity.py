"""Familiarity: whether a network knows what a photo shows, by how well its encoder's codes reconstruct the photo.

The encoder's header says how far reconstructions are from the photos that it was trained on, degraded as in training.
A photo whose own reconstruction is much farther shows something else.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from generation.rendering import synthesize
from images.datasets.dataset import ImageDataset
from images.ranges import from_levels
from inversion.encoders.encoder import Encoder
from inversion.perceptual import Perceptual, default_perceptual
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.purposes import EncoderPurpose

PHOTOS = 64  # photos that an encoder's distances are measured on
PERCENTILES = {"p50": 50, "p99": 99}
MARGIN = 1.25  # times the 99th percentile, beyond which a photo is strange


@torch.no_grad()
def reconstruction_distances(G: Generator, latents: Latents, photos: Tensor, perceptual: Perceptual) -> Tensor:
    """Return the perceptual distances `[N]` of photos `[N, C, R, R]` in [-1, 1] from `G(w, q)`."""
    return perceptual(synthesize(G, latents).clamp(-1, 1), photos)


@torch.no_grad()
def usual_distances(encoder: Encoder, G: Generator, dataset: ImageDataset, seed: int) -> dict[str, float]:
    """Return percentiles of the distances over photos spread over a data set, for the header of an encoder."""
    perceptual = default_perceptual(G.device)
    indices = range(0, dataset.num_images, max(1, dataset.num_images // PHOTOS))
    distances: list[float] = []
    for index in list(indices)[:PHOTOS]:
        if dataset.degradation is None:
            image = dataset.image(index)
        else:
            _, image = dataset.pair(index, (seed, EncoderPurpose.GRID, index))
        photo = from_levels(torch.from_numpy(np.array(image))[None].to(G.device))  # [1, C, R, R]
        distances += reconstruction_distances(G, encoder(photo), photo, perceptual).tolist()
    return {name: float(np.percentile(distances, percent)) for name, percent in PERCENTILES.items()}


def is_strange(distance: float, header: dict[str, Any]) -> bool:
    """Whether a photo's distance is beyond those that the header of an encoder tells; never where it tells none."""
    bound = (header.get("reconstruction") or {}).get("p99")
    return isinstance(bound, int | float) and distance > MARGIN * bound
