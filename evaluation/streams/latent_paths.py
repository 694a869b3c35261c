"""Pairs of images that lie a small step of the latent apart, for perceptual path lengths (PPL).

Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 4.1.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.streams.fakes import FakeSource
from generation.rendering import synthesize
from images.ranges import to_levels
from metrics.image_stream import ImageStream
from metrics.metric import LatentPath
from networks.files import with_precision
from networks.latents import Latents
from torch_utils.purposes import FOR_PATH
from torch_utils.seeding import BatchRandom

LARGEST = 256  # px, largest side of the images that are compared


def path_stream(source: FakeSource, count: int, path: LatentPath) -> ImageStream:
    """Return `count` pairs of images as a stream; the images of a pair share noise, class and quality code.

    Batches are float32 `[N, 2 C, H, W]` in 0..255: along the channels, the image and then the one a step further. A
    step is too short for half precision, so the network computes in float32.
    """
    source = dataclasses.replace(source, G=with_precision(source.G, "fp32").to(source.G.device))

    def batches(first: int, step: int) -> Iterator[Tensor]:
        for seeds in source.seed_batches(count, first, step):
            with torch.no_grad():
                ws = torch.cat(_steps(source, seeds, path))  # [2 N, num_ws, w_dim]
                noise = [[_twice(layer, len(seeds)) for layer in layers] for layers in source.noise(seeds)]
                q = source.q(seeds)
                images = synthesize(source.G, Latents(ws, q=None if q is None else q.repeat(2, 1)), noise)
                images = to_levels(source.require_finite(images, [*seeds, *seeds]).float())  # [2 N, C, R, R]
                here, there = _compared_part(images, path.crop).chunk(2)  # [N, C, H, W]
            yield torch.cat([here, there], dim=1)

    def identity() -> dict[str, Any]:
        return source.identity() | dataclasses.asdict(path)

    return ImageStream(f"{source.name}, path, {source.quality}", count, source.options.batch, batches, identity)


def _steps(source: FakeSource, seeds: range, path: LatentPath) -> tuple[Tensor, Tensor]:
    """Return `ws [N, num_ws, w_dim]` at a position between two latents, and a step further."""
    rng = BatchRandom((seeds[0], FOR_PATH), len(seeds))
    z0 = source.z(seeds)  # [N, z_dim]
    z1 = rng.randn(source.G.z_dim).to(z0)  # [N, z_dim]
    t = rng.rand().to(z0) if path.sampling == "full" else z0.new_zeros(len(seeds))  # [N]
    if path.space == "z":
        z_here, z_there = (slerp(z0, z1, t + step) for step in (0, path.epsilon))
        return source.map(z_here, seeds), source.map(z_there, seeds)
    w0, w1 = (source.map(z, seeds) for z in (z0, z1))
    return w0.lerp(w1, t[:, None, None]), w0.lerp(w1, (t + path.epsilon)[:, None, None])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return the point at share `t [N]` of the great circle from a to b, rows `[N, D]`; the result has unit length."""
    a, b = F.normalize(a.double(), dim=1), F.normalize(b.double(), dim=1)
    along = (a * b).sum(1, keepdim=True).clamp(-1, 1)  # [N, 1], cosine of the whole angle
    angle = t.double()[:, None] * along.acos()  # [N, 1]
    across = F.normalize(b - along * a, dim=1)  # [N, D]
    return F.normalize(a * angle.cos() + across * angle.sin(), dim=1).float()


def _compared_part(images: Tensor, crop: bool) -> Tensor:
    """Return the part of images `[N, C, H, W]` that is compared, reduced to at most 256 pixels."""
    if crop:  # the middle of a face that is aligned as in FFHQ
        part = images.shape[2] // 8
        images = images[:, :, part * 3 : part * 7, part * 2 : part * 6]
    factor = max(1, images.shape[2] // LARGEST)
    return F.avg_pool2d(images, factor) if factor > 1 else images


def _twice(layer: Tensor | None, count: int) -> Tensor | None:
    """Return a layer's noise for both images of `count` pairs; noise that all images share stays as it is."""
    return layer.repeat(2, 1, 1, 1) if layer is not None and len(layer) == count else layer
