"""Generated images as a stream: image number s is that of seed s, sharp or degraded by the seed's quality code."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError
from generation.framing import Framing
from generation.quality_codes import random_quality
from generation.rendering import synthesize
from generation.sampling import z_of_seeds
from images.datasets.dataset import ImageDataset
from images.ranges import round_levels, to_levels
from images.squares import resize
from metrics.image_stream import ImageStream
from networks.generators.coordinates import Coordinates
from networks.generators.interface import Generator, Noise, ScaleFreeSynthesis
from networks.latents import Latents
from torch_utils.purposes import FOR_CLASS, FOR_FAKE_NOISE
from torch_utils.seeding import BatchRandom


@dataclass(frozen=True)
class FakeOptions:
    """How images are generated to be measured.

    Attributes:
        first_seed: seed of the first image.
        truncation_psi: factor by which w is drawn to its mean; 1: no truncation, as in published numbers.
        noise_mode: noise of the layers: `random`, as in published numbers, `const` or `none`.
        class_index: class of all images of a conditional network; None: each image gets that of a random real image.
        batch: number of images in a batch, for which random noise is drawn together.
        scale: factor of the trained number of pixels a side. A network that knows no grid makes so many; the images of
            another are enlarged by Lanczos.
    """

    first_seed: int = 0
    truncation_psi: float = 1.0
    noise_mode: str = "random"
    class_index: int | None = None
    batch: int = 32
    scale: float = 1.0


@dataclass(frozen=True)
class FakeSource:
    """The inputs of generated images, by their seeds: the same in every process and for any order of batches.

    Attributes:
        G: generator in evaluation mode, on its device.
        quality: quality of the images: `sharp`, or `degraded`, which needs a QC network.
        options: how images are generated.
        labels: real images whose classes a conditional network draws from; None: all classes are equally frequent.
        name: name of the network, for messages.
    """

    G: Generator
    quality: str
    options: FakeOptions = field(default_factory=FakeOptions)
    labels: ImageDataset | None = None
    name: str = "fakes"

    def identity(self) -> dict[str, Any]:
        """Return all that the images depend on besides the network, as JSON."""
        options = dataclasses.asdict(self.options)
        if self.options.scale == 1:  # results on the trained grid keep the identity that they have without scales
            del options["scale"]
        return {**options, "quality": self.quality}

    @property
    def side(self) -> int:
        """Side of the images in pixels."""
        return scaled_side(self.G, self.options.scale)

    def coords(self) -> Coordinates | None:
        """Return where the pixels of a network without a grid are at another scale than the trained one; else None."""
        if self.options.scale == 1 or not isinstance(self.G.synthesis, ScaleFreeSynthesis):
            return None
        return Framing(size=(self.side, self.side)).coordinates(self.G, is_sharp=self.quality != "degraded")

    def seed_batches(self, count: int, first: int, step: int) -> Iterator[range]:
        """Yield the seeds of batches number first, first + step, ..., of `count` images in all."""
        batch, end = self.options.batch, self.options.first_seed + count
        for start in range(self.options.first_seed + first * batch, end, step * batch):
            yield range(start, min(start + batch, end))

    def z(self, seeds: range) -> Tensor:
        """Return latents `[N, z_dim]`."""
        return z_of_seeds(seeds, self.G.z_dim).to(self.G.device)

    def map(self, z: Tensor, seeds: range) -> Tensor:
        """Return `ws [N, num_ws, w_dim]` of latents `[N, z_dim]`, with the classes of the seeds."""
        return self.G.mapping(z, self.c(seeds), truncation_psi=self.options.truncation_psi)

    def q(self, seeds: range) -> Tensor | None:
        """Return quality codes `[N, q_dim]`; None for sharp images."""
        if self.quality != "degraded":
            return None
        return torch.from_numpy(random_quality(seeds, self.G.q_dim).codes).to(self.G.device)

    def c(self, seeds: range) -> Tensor | None:
        """Return labels `[N, c_dim]`; None for an unconditional network."""
        if self.G.c_dim == 0:
            return None
        if self.labels is not None and self.options.class_index is None:
            count = self.labels.num_images
            labels = [self.labels.label(_random_index(seed, count)) for seed in seeds]
            return torch.from_numpy(np.stack(labels)).to(self.G.device)
        return self.G.one_hot(torch.tensor([self._class_of(seed) for seed in seeds], device=self.G.device))

    def noise(self, seeds: range) -> Noise:
        """Return every layer's noise for a batch of images."""
        rng = BatchRandom((seeds[0], FOR_FAKE_NOISE), len(seeds), device=self.G.device)
        return self.G.synthesis.make_noise(self.options.noise_mode, len(seeds), rng)

    def require_finite(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return `images`; raise UserError that names the first seed whose image is not finite."""
        finite = torch.isfinite(images).flatten(1).all(1)  # [N]
        if not finite.all():
            seed = seeds[int(finite.int().argmin())]
            raise UserError(f"{self.name} gives values for seed {seed} that are no numbers; use another snapshot")
        return images

    def _class_of(self, seed: int) -> int:
        chosen = self.options.class_index
        return _random_index(seed, self.G.c_dim) if chosen is None else chosen


def fake_stream(source: FakeSource, count: int) -> ImageStream:
    """Return the first `count` images of a network as a stream; the quality code of each is that of its seed.

    Raises UserError (when batches are asked for) for an image that is not finite.
    """

    coords = source.coords()

    def batches(first: int, step: int) -> Iterator[Tensor]:
        for seeds in source.seed_batches(count, first, step):
            with torch.no_grad():
                ws = source.map(source.z(seeds), seeds)  # [N, num_ws, w_dim]
                images = synthesize(source.G, Latents(ws, q=source.q(seeds)), source.noise(seeds), coords)
            levels = round_levels(to_levels(source.require_finite(images, seeds).float()))  # [N, C, R, R]
            yield enlarge(levels, source.side)

    return ImageStream(f"{source.name}, {source.quality}", count, source.options.batch, batches, source.identity)


def scaled_side(G: Generator, scale: float) -> int:
    """Return the side in pixels of images at a scale; the rule is that of `Framing.image_size`."""
    return Framing(scale=scale).image_size(G.img_resolution)[0]


def enlarge(images: Tensor, side: int) -> Tensor:
    """Return uint8 images `[N, C, R, R]` at another side by Lanczos; images of this side are returned as they are."""
    if images.shape[-1] == side:
        return images
    planes = images.cpu().numpy().reshape(-1, *images.shape[2:])  # a filter for each channel is the same for all
    resized = np.stack([resize(plane, side) for plane in planes])
    return torch.from_numpy(resized).view(*images.shape[:2], side, side).to(images.device)


def _random_index(seed: int, count: int) -> int:
    """Return the number in 0..count-1 that chooses the class of a seed's image."""
    return int(np.random.default_rng((seed, FOR_CLASS)).integers(count))
