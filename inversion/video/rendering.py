"""From the codes of a clip's frames to images."""

from collections.abc import Iterator

import numpy as np
import torch
import tqdm

from generation.rendering import synthesize
from images.photos import from_network
from inversion.directions.direction import AnyDirection
from inversion.directions.editing import edit
from inversion.inverter import Inverter
from networks.latents import Latents

RENDER_BATCH = 16  # frames in one pass through the network


@torch.no_grad()
def render_codes(
    inverter: Inverter, codes: Latents, direction: AnyDirection | None = None, strength: float = 0.0
) -> Iterator[np.ndarray]:
    """Yield the image of each row of codes, edited along a direction, uint8 `[R, R, 3]`."""
    for start in tqdm.tqdm(range(0, len(codes), RENDER_BATCH), desc="images", unit="batch", disable=None):
        part = codes[start : start + RENDER_BATCH].to(inverter.device)
        if direction is not None:
            part = edit(inverter.G, part, direction, strength)
        yield from from_network(synthesize(inverter.G, part).clamp(-1, 1))  # [n, R, R, 3]
