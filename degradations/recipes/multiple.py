"""The track "Multiple-deg." of Table 2: two of blur, noise, compression, and the third with probability 1/2."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.mixing import plan_mixture


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw two or three primitives of different families for an image of this width."""
    return plan_mixture(rng, width, certain=2)
