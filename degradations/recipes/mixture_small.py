"""The training mixture with ranges for images of 64 pixels or so: factor 0.25 to 0.9, variance 10 to 300."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.mixing import SMALL_IMAGES, plan_mixture


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw one to three primitives for an image of this width."""
    return plan_mixture(rng, width, certain=1, ranges=SMALL_IMAGES)
