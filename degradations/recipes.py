"""Recipes: the training mixture and the five tracks of Table 2, one file each."""

import functools
from types import ModuleType

import numpy as np

from degradations.applied import Applied
from degradations.images import check_arguments
from dnnlib.registry import Registry

_REGISTRY = Registry("degradations", "recipe_", "recipe")


def recipes() -> list[str]:
    """Return the names of all recipes, sorted."""
    return _REGISTRY.names()


def degrade(image: np.ndarray, recipe: str, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    """Degrade an image by a recipe; the same `rng` state gives the same result, whatever ran before.

    Args:
        image: uint8 [H, W, 3] (RGB) or [H, W, 1] (gray) in [0, 255]; it is not modified.
        recipe: one of `recipes()`, such as "mixture". An unknown one raises UserError.
        rng: the source of all randomness.

    Returns:
        A new image of the same shape and type, and what was done, in order.
    """
    check_arguments(image, rng)
    return _load(recipe).degrade(image, rng)


@functools.cache
def _load(name: str) -> ModuleType:
    return _REGISTRY.get(name)
