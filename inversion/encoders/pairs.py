"""What an encoder is shown: pairs of a sharp and a degraded image, photos and the generator's own samples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlib.errors import UserError
from generation.rendering import stored_noise
from images.datasets.batches import Batch
from images.datasets.dataset import ImageDataset
from images.ranges import from_levels
from inversion.encoders.config import EncoderConfig
from inversion.encoders.encoder import random_classes
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.purposes import EncoderPurpose
from torch_utils.seeding import BatchRandom


@dataclass(frozen=True)
class Pairs:
    """Images `[N, C, R, R]` in [-1, 1], and the codes of the last rows, which the generator has made.

    Without a quality code, `degraded` is `sharp`.
    """

    sharp: Tensor
    degraded: Tensor
    known: Latents | None


def open_photos(config: EncoderConfig, G: Generator) -> ImageDataset:
    """Return the photos that a configuration names; raise UserError unless they fit the generator."""
    data = config.data
    dataset = ImageDataset(
        data.path,
        resolution=G.img_resolution,
        mirror=data.mirror,
        subset=data.subset,
        seed=config.seed,
        on_bad_image=config.run.on_bad_image,
        degradation=data.degradation if G.q_dim > 0 else None,
    )
    if dataset.channels != G.img_channels:
        raise UserError(
            f"{data.path} has images with {dataset.channels} channels, the network makes {G.img_channels}; convert "
            "the data with dataset_tool.py"
        )
    return dataset


def reconstruct(G: Generator, latents: Latents) -> tuple[Tensor, Tensor]:
    """Return `G(w, 0)` and `G(w, q)`, `[N, C, R, R]` each, with the stored noise; all that they share runs once."""
    content = G.synthesis.content(latents, stored_noise(G, len(latents)))
    if latents.q is None:
        images = G.synthesis.image(content)
        return images, images
    images, _ = G.synthesis.twins(content, latents.q)  # [2 N, C, R, R]
    sharp, degraded = images.chunk(2)
    return sharp, degraded


def make_pairs(config: EncoderConfig, G: Generator, batch: Batch, images_seen: int) -> Pairs:
    """Return a batch of photos followed by own samples; what is drawn depends on the seed and `images_seen` alone."""
    photos = _photo_pairs(config, G, batch, images_seen)
    if config.own_samples == 0:
        return photos
    own = _own_pairs(config, G, images_seen)
    return Pairs(torch.cat([photos.sharp, own.sharp]), torch.cat([photos.degraded, own.degraded]), own.known)


def _photo_pairs(config, G, batch, images_seen):
    device = G.device
    sharp = from_levels(batch.images.to(device, non_blocking=True))
    if batch.degraded is None:
        return Pairs(sharp, sharp, None)
    stays = _stays_sharp(config, _random(config, EncoderPurpose.PHOTOS, images_seen, len(sharp)), device)
    degraded = from_levels(batch.degraded.to(device, non_blocking=True))
    return Pairs(sharp, torch.where(stays[:, :, None, None], sharp, degraded), None)


@torch.no_grad()
def _own_pairs(config, G, images_seen):
    device = G.device
    rng = _random(config, EncoderPurpose.OWN_SAMPLES, images_seen, config.own_samples)
    ws = G.mapping(rng.randn(G.z_dim).to(device), random_classes(G, rng))
    q = None
    if G.q_dim > 0:
        q = torch.where(_stays_sharp(config, rng, device), 0.0, rng.randn(G.q_dim).to(device))
    known = Latents(ws, q)
    sharp, degraded = reconstruct(G, known)
    if q is not None:  # not every DegradBlock does nothing at zero
        degraded = torch.where(q.eq(0).all(1)[:, None, None, None], sharp, degraded)
    return Pairs(sharp, degraded, known)


def _stays_sharp(config, rng, device):
    """Return which rows are shown without degradation, bool `[N, 1]`."""
    return (rng.rand(1) < config.data.sharp_share).to(device)


def _random(config, purpose, images_seen, rows):
    """Draws are made on the CPU, so that every device sees the same."""
    return BatchRandom((config.seed, images_seen, purpose), rows)
