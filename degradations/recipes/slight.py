"""Small degradations (supplement, D.5): blur, noise, low resolution or JPEG alone, near the mild end or below."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.mixing import SLIGHT, plan_kind


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw one primitive for an image of this width."""
    yield plan_kind(rng, width, SLIGHT)
