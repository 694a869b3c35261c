"""Degradations: a sharp uint8 image and a random generator in, a worse image and the record of what was done out."""

import cv2

from degradations.applied import Applied
from degradations.primitive import apply_primitive, primitive_names
from degradations.recipe import degrade, plan, recipe_names

__all__ = ["Applied", "apply_primitive", "degrade", "plan", "primitive_names", "recipe_names"]

# Set on import, so that no data loader can forget it: its workers are the parallelism, a pool of OpenCV threads in
# each would oversubscribe the cores, and such a pool does not survive the fork that starts a worker.
cv2.setNumThreads(0)
