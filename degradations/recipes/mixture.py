"""The training mixture: blur, noise, compression, in this order; one is certain, the others have probability 1/2."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.mixing import plan_mixture


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw one to three primitives for an image of this width."""
    return plan_mixture(rng, width, certain=1)
