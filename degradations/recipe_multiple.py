"""The track "Multiple-deg." of Table 2: the training mixture, given that it applies two families or more."""

import numpy as np

from degradations.applied import Applied
from degradations.mixing import apply_mixture


def degrade(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    """Degrade uint8 [H, W, C] by two or three primitives of different families."""
    return apply_mixture(image, rng, certain=2)
