"""From the codes of a clip's frames to images."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from generation.rendering import synthesize
from images.photos import from_network
from inversion.directions.direction import AnyDirection
from inversion.directions.editing import edit
from inversion.directions.following import YIELDING
from inversion.inverter import Inverter
from networks.latents import Latents

RENDER_BATCH = 16  # frames in one pass through the network


def render_spans(count: int) -> list[range]:
    """Return the frames of each pass through the network, of so many in all."""
    return [range(start, min(start + RENDER_BATCH, count)) for start in range(0, count, RENDER_BATCH)]


@torch.no_grad()
def render_codes(
    inverter: Inverter,
    codes: Latents,
    spans: Iterable[range],
    direction: AnyDirection | None = None,
    strength: float = 0.0,
    yielding: float = YIELDING,
) -> Iterator[np.ndarray]:
    """Yield the images of each span of the codes, uint8 `[n, R, R, 3]`, edited along a direction as by `edit`."""
    for span in spans:
        part = codes[span.start : span.stop].to(inverter.device)
        if direction is not None:
            part = edit(inverter.G, part, direction, strength, yielding=yielding)
        yield from_network(synthesize(inverter.G, part).clamp(-1, 1))
