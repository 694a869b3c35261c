"""The training mixture: blur, then noise, then compression; one of the three is certain, the others 1/2 likely."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.mixing import plan_mixture


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw one to three primitives for an image of this width."""
    return plan_mixture(rng, width, certain=1)
