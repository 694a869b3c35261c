"""A mixture in which half of the images have one kind of degradation alone: blur, noise, low resolution or JPEG."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.mixing import plan_balanced


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw one to three primitives for an image of this width."""
    return plan_balanced(rng, width)
