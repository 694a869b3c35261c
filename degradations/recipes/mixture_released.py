"""The training mixture with the ranges and the downscaling of the released code, see `degradations.mixing.RELEASED`."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.mixing import RELEASED, plan_mixture


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw one to three primitives for an image of this width."""
    return plan_mixture(rng, width, certain=1, ranges=RELEASED)
