"""The track "Super-res." of Table 2: a quarter of the resolution, bilinear both ways; nothing is random."""

import numpy as np

from degradations.applied import Applied
from degradations.primitives import apply_primitive


def degrade(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    """Shrink uint8 [H, W, C] by 4 and enlarge it again."""
    degraded, applied = apply_primitive(image, "downscale", rng, factor=0.25, interpolation="bilinear")
    return degraded, [applied]
