"""Pairs of images a small step of the latent apart, for path lengths (Karras et al. 2019, section 4.1)."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.streams.fakes import (
    FakeOptions,
    LatentSource,
    identity_of,
    require_finite_images,
    seed_batches,
)
from generation.rendering import synthesize
from images.datasets.dataset import ImageDataset
from images.ranges import to_levels
from metrics.image_stream import ImageStream
from metrics.metric import LatentPath
from networks.files import with_precision
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.purposes import FOR_PATH
from torch_utils.seeding import BatchRandom

LARGEST = 256  # side of the images that are compared


def path_stream(
    G: Generator,
    count: int,
    quality: str,
    path: LatentPath,
    options: FakeOptions,
    labels: ImageDataset | None = None,
    name: str = "fakes",
) -> ImageStream:
    """Return `count` pairs as a stream; images and copies share noise, class and quality code.

    Batches are float32 `[N, 2 C, H, W]` in 0..255: the image, and along the channels the one a step further. A step is
    too short for half precision, so the network computes in float32.
    """
    G = with_precision(G, "fp32").to(G.device)
    source = LatentSource(G, options, labels)

    def batches(first: int, step: int) -> Iterator[Tensor]:
        for seeds in seed_batches(count, options, first, step):
            with torch.no_grad():
                ws = torch.cat(_steps(source, seeds, path, options))
                noise = [[_twice(layer, len(seeds)) for layer in layers] for layers in source.noise(seeds)]
                q = source.q(seeds).repeat(2, 1) if quality == "degraded" else None
                images = synthesize(G, Latents(ws, q), noise)
                images = to_levels(require_finite_images(images, [*seeds, *seeds], name).float())
                here, there = _shown(images, path.crop).chunk(2)
            yield torch.cat([here, there], dim=1)

    def identity() -> dict[str, Any]:
        return identity_of(options, quality) | dataclasses.asdict(path)

    return ImageStream(f"{name}, path, {quality}", count, options.batch, batches, identity)


def _steps(source: LatentSource, seeds: range, path: LatentPath, options: FakeOptions) -> tuple[Tensor, Tensor]:
    """Return `ws [N, num_ws, w_dim]` at a place between two latents, and a step further."""
    rng = BatchRandom((seeds[0], FOR_PATH), len(seeds))
    c = source.c(seeds)
    z0 = source.z(seeds)
    z1 = rng.randn(source.G.z_dim).to(z0)
    t = rng.rand().to(z0) if path.sampling == "full" else z0.new_zeros(len(seeds))
    if path.space == "z":
        places = [slerp(z0, z1, t + step) for step in (0, path.epsilon)]
        return tuple(source.G.mapping(z, c, truncation_psi=options.truncation_psi) for z in places)
    w0, w1 = (source.G.mapping(z, c, truncation_psi=options.truncation_psi) for z in (z0, z1))
    return tuple(w0.lerp(w1, (t + step)[:, None, None]) for step in (0, path.epsilon))


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Walk along the great circle from a to b, rows `[N, D]`, `t [N]`; the result has unit length."""
    a, b = F.normalize(a.double(), dim=1), F.normalize(b.double(), dim=1)
    along = (a * b).sum(1, keepdim=True).clamp(-1, 1)
    angle = t.double()[:, None] * along.acos()
    across = F.normalize(b - along * a, dim=1)
    return F.normalize(a * angle.cos() + across * angle.sin(), dim=1).float()


def _shown(images: Tensor, crop: bool) -> Tensor:
    """Return the part of images `[N, C, H, W]` that is compared, reduced to at most 256 pixels."""
    if crop:  # the middle of a face that is aligned as in FFHQ
        part = images.shape[2] // 8
        images = images[:, :, part * 3 : part * 7, part * 2 : part * 6]
    factor = max(1, images.shape[2] // LARGEST)
    return F.avg_pool2d(images, factor) if factor > 1 else images


def _twice(layer: Tensor | None, count: int) -> Tensor | None:
    return layer.repeat(2, 1, 1, 1) if layer is not None and len(layer) == count else layer
