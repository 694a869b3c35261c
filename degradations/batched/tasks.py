"""Plans of degradations for images by their numbers, made ahead of the device that carries them out.

They need no pixels, so that the processes that read the images make them, beside the training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from degradations.applied import Applied
from degradations.recipe import plan
from torch_utils.purposes import FOR_DEGRADATION, FOR_DEGRADATION_NOISE
from torch_utils.seeding import derive_seed


@dataclass(frozen=True)
class Task:
    """A planned primitive of one image.

    Attributes:
        applied: the primitive with its parameters.
        seed: seed of its random numbers, such as those of noise.
    """

    applied: Applied
    seed: int


ImagePlan = tuple[Task, ...]  # what happens to one image, in order


def plan_numbered(recipe: str, seed: int, numbers: Iterable[int], width: int) -> list[ImagePlan]:
    """Plan what a recipe does to the images with these numbers in the run with this seed.

    All random numbers of an image depend only on the seed and its number. The images' shorter side is `width`. Raises
    UserError for an unknown recipe.
    """
    return [
        with_seeds(
            plan(recipe, np.random.default_rng((seed, FOR_DEGRADATION, number)), width),
            (seed, FOR_DEGRADATION_NOISE, number),
        )
        for number in numbers
    ]


def with_seeds(planned: Sequence[Applied], key: tuple[int, ...]) -> ImagePlan:
    """Return a plan whose every step has a seed of its own, derived from the image's `key`."""
    return tuple(Task(applied, derive_seed(*key, step)) for step, applied in enumerate(planned))
