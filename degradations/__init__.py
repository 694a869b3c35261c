"""Degradations (blur, noise, downscale, JPEG): map a sharp uint8 image to a degraded one and a record of what was done.

All randomness comes from a random generator that is handed in.
"""

import cv2

from degradations.applied import Applied
from degradations.primitive import apply_primitive, primitive_names
from degradations.recipe import degrade, plan, recipe_names

__all__ = ["Applied", "apply_primitive", "degrade", "plan", "primitive_names", "recipe_names"]

# Set on import, so that no data loader can forget it: the loader's workers are the parallelism. A pool of OpenCV
# threads in each worker would oversubscribe the cores, and such a pool does not survive the fork that starts a worker.
cv2.setNumThreads(0)
