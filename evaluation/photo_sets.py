"""Sets of photos with their degraded versions, which the tables on inversion and restoration share."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from degradations import degrade
from dnnlib.config import require
from dnnlib.errors import UserError, counted
from images.datasets.dataset import ImageDataset, check_recipe
from images.files import ImageFiles
from images.photos import network_input
from images.ranges import to_uint8
from images.squares import centre_square, cut
from inversion.photos.encoded import names_of
from networks.generators.interface import Generator
from torch_utils.purposes import FOR_METRICS

RECIPE = "multiple"  # degradation of the paper's "multiple-degraded" images


@dataclass(frozen=True)
class PhotoOptions:
    """The photos of a table.

    Attributes:
        data: folder or zip of sharp photos, of the network's resolution.
        images: number of photos, the first of the set; None: all.
        batch: number of photos inverted at once.
        seed: seed of the degradations.
    """

    data: str
    images: int | None = None
    batch: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.images is None or self.images >= 1, "--count", self.images, "at least 1")
        require(self.batch >= 1, "--batch", self.batch, "at least 1")


class DegradedPhotos:
    """The first photos of a set, each with its degraded version, which depends only on the seed and the photo's number.

    Args:
        options: the photos.
        recipe: recipe of the degradations.
        G: network that the photos are inverted into; None: the photos may have any size.

    Raises UserError for photos of another size or other channels than the network's, and where there are too few.
    """

    def __init__(self, options: PhotoOptions, recipe: str, G: Generator | None) -> None:
        self.track = recipe
        self.dataset = ImageDataset(options.data, None if G is None else G.img_resolution, degradation=recipe)
        if G is not None and self.dataset.channels != G.img_channels:
            raise UserError(
                f"{options.data} holds images of {counted(self.dataset.channels, 'channel')}, and the network's have "
                f"{G.img_channels}; give others"
            )
        self.count = self.dataset.num_images if options.images is None else options.images
        available = self.dataset.num_images
        require(self.count <= available, "--count", self.count, f"at most {available}, as many as {options.data} has")
        self.options = options

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> list[str]:
        """The photos' file names without endings."""
        return [Path(name).stem for name in self.dataset.files.names[: self.count]]

    @functools.cached_property
    def file_names(self) -> list[str]:
        """A name of its own for each photo of the set, also for those beyond the first, without ending or folder."""
        return names_of([Path(name) for name in self.dataset.files.names])

    def key(self, number: int) -> tuple[int, int, int]:
        """Return what seeds the degradation of a photo."""
        return self.options.seed, FOR_METRICS, number

    @property
    def settings(self) -> dict[str, Any]:
        """All that photo number i depends on, as JSON."""
        return {
            "photos": self.dataset.fingerprint,
            "recipe": self.dataset.degradation,
            "degradation_seed": self.options.seed,
        }

    def batches(self) -> Iterator[range]:
        """Yield the numbers of photos that are inverted together."""
        for first in range(0, self.count, self.options.batch):
            yield range(first, min(first + self.options.batch, self.count))

    def pairs(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return sharp and degraded photos, both uint8 `[N, C, R, R]`; `real_stream` has the same ones for the seed."""
        pairs = [self.dataset.pair(number, self.key(number)) for number in numbers]
        sharp, degraded = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
        return sharp, degraded


class SquarePhotos:
    """The middle squares of any photos, brought to a network's resolution, and degraded or as they are.

    Args:
        options: the photos, of any sizes.
        recipe: recipe of the degradations; None: the photos stay as they are.
        G: network that the photos are inverted into.

    Raises UserError for an unknown recipe, and where there are too few photos.
    """

    def __init__(self, options: PhotoOptions, recipe: str | None, G: Generator) -> None:
        if recipe is not None:
            check_recipe(recipe)
        self.files = ImageFiles(options.data)
        available = len(self.files)
        self.count = available if options.images is None else options.images
        require(self.count <= available, "--count", self.count, f"at most {available}, as many as {options.data} has")
        self.options = options
        self.recipe = recipe
        self.resolution = G.img_resolution
        self.channels = G.img_channels

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> list[str]:
        """The photos' file names without endings."""
        return [Path(name).stem for name in self.files.names[: self.count]]

    @property
    def settings(self) -> dict[str, Any]:
        """All that photo number i depends on, as JSON."""
        return {"photos": self.files.fingerprint(), "recipe": self.recipe, "degradation_seed": self.options.seed}

    def batches(self) -> Iterator[range]:
        """Yield the numbers of photos that are inverted together."""
        for first in range(0, self.count, self.options.batch):
            yield range(first, min(first + self.options.batch, self.count))

    def images(self, numbers: Sequence[int]) -> Tensor:
        """Return photos uint8 `[N, C, R, R]`."""
        return torch.cat([self._image(number) for number in numbers])

    def _image(self, number: int) -> Tensor:
        pixels = self.files.picture(self.files.names[number])  # [H, W, 1 or 3]
        colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        image = cut(colour, centre_square(colour), self.resolution)  # [R, R, 3]
        if self.recipe is not None:
            rng = np.random.default_rng((self.options.seed, FOR_METRICS, number))
            image = degrade(np.ascontiguousarray(image), self.recipe, rng)[0]
        return torch.from_numpy(to_uint8(network_input(image, self.channels))).permute(0, 3, 1, 2)
