"""Training data of encoders: pairs of a sharp and a degraded image, photos and the generator's own samples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlib.errors import UserError, counted
from generation.rendering import stored_noise
from images.datasets.batches import Batch
from images.datasets.dataset import ImageDataset
from images.ranges import from_levels
from inversion.encoders.config import EncoderConfig
from inversion.encoders.encoder import random_classes
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.distributed import World
from torch_utils.purposes import EncoderPurpose
from torch_utils.seeding import BatchRandom


@dataclass(frozen=True)
class Pairs:
    """Pairs of images, photos first, then own samples of the generator.

    Attributes:
        sharp: sharp images `[N, C, R, R]` in [-1, 1].
        degraded: the same images degraded; the sharp ones where there is no degradation.
        known: codes of the own samples, which are the last rows; None where there are none.
    """

    sharp: Tensor
    degraded: Tensor
    known: Latents | None


def open_photos(config: EncoderConfig, G: Generator) -> ImageDataset:
    """Return the data set that a configuration names; raise UserError unless it fits the generator."""
    data = config.data
    dataset = ImageDataset(
        data.path,
        resolution=G.img_resolution,
        mirror=data.mirror,
        subset=data.subset,
        seed=config.seed,
        on_bad_image=config.run.on_bad_image,
        degradation=data.degradation,
    )
    if dataset.channels != G.img_channels:
        raise UserError(
            f"{data.path} has images with {counted(dataset.channels, 'channel')}, the network makes "
            f"{G.img_channels}; convert the data with dataset_tool.py"
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


def degrade_known(G: Generator, known: Latents, q: Tensor) -> Tensor:
    """Return `G(w, q)` `[N, C, R, R]` with the stored noise for known `w`; gradients flow to `q` alone."""
    with torch.no_grad():
        content = G.synthesis.content(known, stored_noise(G, len(known)))
    return G.synthesis.image(content, q)


def make_pairs(
    config: EncoderConfig, G: Generator, batch: Batch, images_seen: int, world: World | None = None
) -> Pairs:
    """Return a batch of photos followed by own samples; random numbers depend on the seed and `images_seen` alone.

    Each of several processes has its rows of both; `batch` holds those of its photos.
    """
    world = world or World(0, 1, G.device)
    photos = _photo_pairs(config, G, batch, images_seen, world)
    if config.own_samples == 0:
        return photos
    own = _own_pairs(config, G, images_seen, world)
    return Pairs(torch.cat([photos.sharp, own.sharp]), torch.cat([photos.degraded, own.degraded]), own.known)


def _photo_pairs(config: EncoderConfig, G: Generator, batch: Batch, images_seen: int, world: World) -> Pairs:
    sharp = from_levels(batch.images.to(G.device, non_blocking=True))  # [N, C, R, R]
    if batch.degraded is None:
        return Pairs(sharp, sharp, None)
    is_sharp = _draw_sharp_rows(
        config, _random(config, EncoderPurpose.PHOTOS, images_seen, config.photos, world), G.device
    )
    degraded = from_levels(batch.degraded.to(G.device, non_blocking=True))  # [N, C, R, R]
    return Pairs(sharp, torch.where(is_sharp[:, :, None, None], sharp, degraded), None)


@torch.no_grad()
def _own_pairs(config: EncoderConfig, G: Generator, images_seen: int, world: World) -> Pairs:
    rng = _random(config, EncoderPurpose.OWN_SAMPLES, images_seen, config.own_samples, world)
    ws = G.mapping(rng.randn(G.z_dim).to(G.device), random_classes(G, rng))  # [N, num_ws, w_dim]
    q = None
    if G.q_dim > 0:
        q = torch.where(_draw_sharp_rows(config, rng, G.device), 0.0, rng.randn(G.q_dim).to(G.device))  # [N, q_dim]
    known = Latents(ws, q=q)
    sharp, degraded = reconstruct(G, known)  # [N, C, R, R] each
    if q is not None:  # not every DegradBlock does nothing at zero
        degraded = torch.where(q.eq(0).all(1)[:, None, None, None], sharp, degraded)
    return Pairs(sharp, degraded, known)


def _draw_sharp_rows(config: EncoderConfig, rng: BatchRandom, device: torch.device) -> Tensor:
    """Return which rows have no degradation, bool `[N, 1]`."""
    return (rng.rand(1) < config.data.sharp_share).to(device)


def _random(config: EncoderConfig, purpose: EncoderPurpose, images_seen: int, count: int, world: World) -> BatchRandom:
    """Return random numbers for this process's rows, on the CPU, so that every device gets the same."""
    return BatchRandom((config.seed, images_seen, purpose), count, world.rows(count))
