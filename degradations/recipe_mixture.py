"""The training mixture: blur, then noise, then compression; one of the three is certain, the others 1/2 likely."""

import numpy as np

from degradations.applied import Applied
from degradations.mixing import apply_mixture


def degrade(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    """Degrade uint8 [H, W, C] by one to three primitives."""
    return apply_mixture(image, rng, certain=1)
