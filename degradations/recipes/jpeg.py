"""The track "JPEG comp." of Table 2: JPEG alone, with the qualities of training."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.primitive import plan_primitive


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw the JPEG quality."""
    yield plan_primitive("jpeg", rng, width)
