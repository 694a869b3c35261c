"""The track "Super-res." of Table 2: a quarter of the resolution, bilinear both ways; nothing is random."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.primitive import plan_primitive


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Shrink by 4 and enlarge again."""
    yield plan_primitive("downscale", rng, width, factor=0.25, interpolation="bilinear")
