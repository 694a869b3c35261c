"""Generated images as a stream: image number s is that of seed s, sharp or through its quality code."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError
from generation.quality_codes import random_quality
from generation.rendering import synthesize
from generation.sampling import z_of_seeds
from images.datasets.dataset import ImageDataset
from images.ranges import round_levels, to_levels
from metrics.image_stream import ImageStream
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.purposes import FOR_CLASS, FOR_FAKE_NOISE
from torch_utils.seeding import BatchRandom


@dataclass(frozen=True)
class FakeOptions:
    """How images are generated to be measured.

    Attributes:
        first_seed: of image 0.
        truncation_psi: 1: none, as the field measures.
        noise_mode: `random`, as the field measures, `const` or `none`.
        class_index: of a conditional network; None: each image gets the class of one of the real images.
        batch: images at once; random noise is drawn for a batch.
    """

    first_seed: int = 0
    truncation_psi: float = 1.0
    noise_mode: str = "random"
    class_index: int | None = None
    batch: int = 32


def fake_stream(
    G: Generator,
    count: int,
    quality: str,
    options: FakeOptions,
    labels: ImageDataset | None = None,
    name: str = "fakes",
) -> ImageStream:
    """Return images number `first_seed ..` of a network as a stream; the quality code of each is that of its seed.

    Args:
        G: in evaluation mode, on its device.
        count: of images.
        quality: `sharp` or `degraded`, which needs a QC network.
        options: how.
        labels: whose classes a conditional network draws from.
        name: for messages.

    Raises UserError (when batches are asked for) for an image that is not finite.
    """
    source = LatentSource(G, options, labels)

    def batches(first: int, step: int) -> Iterator[Tensor]:
        for seeds in seed_batches(count, options, first, step):
            with torch.no_grad():
                ws = G.mapping(source.z(seeds), source.c(seeds), truncation_psi=options.truncation_psi)
                q = source.q(seeds) if quality == "degraded" else None
                images = synthesize(G, Latents(ws, q), source.noise(seeds))
            yield round_levels(to_levels(require_finite_images(images, seeds, name).float()))

    return ImageStream(f"{name}, {quality}", count, options.batch, batches, lambda: identity_of(options, quality))


def identity_of(options: FakeOptions, quality: str) -> dict[str, Any]:
    """Return what generated images depend on besides the network, as JSON."""
    return {**dataclasses.asdict(options), "quality": quality}


class LatentSource:
    """What images are made of, by their seeds: the same in every process and for any order of batches."""

    def __init__(self, G: Generator, options: FakeOptions, labels: ImageDataset | None):
        self.G, self.options, self.labels = G, options, labels
        self.device = G.device

    def z(self, seeds: range) -> Tensor:
        """Return latents `[N, z_dim]`."""
        return z_of_seeds(seeds, self.G.z_dim).to(self.device)

    def q(self, seeds: range) -> Tensor:
        """Return quality codes `[N, q_dim]`."""
        return torch.from_numpy(random_quality(seeds, self.G.q_dim).codes).to(self.device)

    def c(self, seeds: range) -> Tensor | None:
        """Return labels `[N, c_dim]`; None for an unconditional network."""
        if self.G.c_dim == 0:
            return None
        return torch.from_numpy(np.stack([self._label(seed) for seed in seeds])).to(self.device)

    def noise(self, seeds: range) -> list[list[Tensor | None]]:
        """Return every layer's noise for a batch of images."""
        rng = BatchRandom((seeds[0], FOR_FAKE_NOISE), len(seeds), device=self.device)
        return self.G.synthesis.make_noise(self.options.noise_mode, len(seeds), rng)

    def _label(self, seed):
        if self.options.class_index is not None:
            return np.eye(self.G.c_dim, dtype=np.float32)[self.options.class_index]
        rng = np.random.default_rng((seed, FOR_CLASS))
        if self.labels is not None:
            return self.labels.label(int(rng.integers(self.labels.num_images)))
        return np.eye(self.G.c_dim, dtype=np.float32)[rng.integers(self.G.c_dim)]


def seed_batches(count: int, options: FakeOptions, first: int, step: int) -> Iterator[range]:
    """Yield the seeds of batches number first, first + step, ..."""
    end = options.first_seed + count
    for start in range(options.first_seed + first * options.batch, end, step * options.batch):
        yield range(start, min(start + options.batch, end))


def require_finite_images(images: Tensor, seeds: Sequence[int], name: str) -> Tensor:
    """Return `images`; raise UserError that names the first seed whose image is not finite."""
    finite = torch.isfinite(images).flatten(1).all(1)
    if not finite.all():
        seed = seeds[int(finite.int().argmin())]
        raise UserError(f"{name} gives values for seed {seed} that are no numbers; use another snapshot")
    return images
