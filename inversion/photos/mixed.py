"""Images of the codes of two photos: one in the style of the other, and what lies between them."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch

from generation.rendering import synthesize
from images.figures import PAPER, labelled_grid
from images.photos import from_network
from inversion.inverter import Inverter
from inversion.mixing import Part, between, has_space, mix
from inversion.photos.encoded import EncodedPhoto
from networks.latents import Latents

Quality = Literal["sharp", "own"]


@torch.no_grad()
def mixed_images(
    inverter: Inverter, styles: Sequence[EncodedPhoto], content: Latents, layers: Sequence[int] | None, quality: Quality
) -> np.ndarray:
    """Return a photo's content in each style, uint8 `[styles, R, R, 3]`; layers None: as its codes suggest."""
    num_ws = inverter.G.num_ws
    if layers is None:
        layers = range(0 if has_space(content) else num_ws // 2, num_ws)
    content = content if quality == "own" else content.sharp()
    images = [synthesize(inverter.G, mix(style.latents, content, layers)) for style in styles]  # [1, C, R, R] each
    return np.concatenate([from_network(image) for image in images])


def mixing_sheet(styles: Sequence[EncodedPhoto], contents: Sequence[EncodedPhoto], images: np.ndarray) -> np.ndarray:
    """Return a figure of images uint8 `[contents, styles, R, R, 3]` with the photos along the edges."""
    corner = np.full_like(images[0, 0], PAPER)
    top = np.stack([corner, *(style.image for style in styles)])  # [1 + styles, R, R, 3]
    left = np.stack([content.image for content in contents])[:, None]  # [contents, 1, R, R, 3]
    grid = np.concatenate([top[None], np.concatenate([left, images], axis=1)])
    names = [["", *(photo.name for photo in photos)] for photos in (contents, styles)]
    return labelled_grid(grid, *names)


@torch.no_grad()
def images_between(inverter: Inverter, start: Latents, end: Latents, part: Part, count: int) -> Iterator[np.ndarray]:
    """Yield `count` images from one image's codes to another's, both included, uint8 `[R, R, 3]`."""
    for index in range(count):
        codes = between(inverter.G, start, end, part, index / (count - 1))
        yield from from_network(synthesize(inverter.G, codes))
