"""The track "Blur" of Table 2: one primitive of the blur family, with the parameters of training."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.mixing import plan_family


def plan(rng: np.random.Generator, width: int) -> Iterator[Applied]:
    """Draw one kind of blur for an image of this width."""
    yield plan_family("blur", rng, width)
