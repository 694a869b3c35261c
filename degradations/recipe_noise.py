"""The track "Noise" of Table 2: one primitive of the noise family, with the parameters of training."""

import numpy as np

from degradations.applied import Applied
from degradations.mixing import apply_family


def degrade(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    """Degrade uint8 [H, W, C] by one kind of noise."""
    degraded, applied = apply_family(image, "noise", rng)
    return degraded, [applied]
