"""The track "JPEG comp." of Table 2: JPEG alone, with the qualities of training."""

import numpy as np

from degradations.applied import Applied
from degradations.primitives import apply_primitive


def degrade(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    """Degrade uint8 [H, W, C] by JPEG."""
    degraded, applied = apply_primitive(image, "jpeg", rng)
    return degraded, [applied]
