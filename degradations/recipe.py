"""Recipes by name: the training mixture and the five tracks of Table 2; each is one file of `degradations/recipes/`."""

import functools
from types import ModuleType

import numpy as np

from degradations.applied import Applied
from degradations.images import check_arguments, shorter_side
from degradations.primitive import perform
from dnnlib.registry import Registry

_REGISTRY = Registry("degradations.recipes", "recipe")


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return _REGISTRY.names()


def degrade(image: np.ndarray, recipe: str, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    """Degrade an image by a recipe; the same `rng` state gives the same result.

    Args:
        image: uint8 [H, W, 3] (RGB) or [H, W, 1] (gray) in [0, 255]; it is not modified.
        recipe: name of the recipe, one of `recipe_names()` such as "mixture"; an unknown one raises UserError.
        rng: source of all random numbers.

    Returns:
        A new image of the same shape and type, and the primitives applied, in order.
    """
    check_arguments(image, rng)
    record = []
    for applied in _load(recipe).plan(rng, shorter_side(image)):  # a lazy plan: noise draws from `rng` in between
        image = perform(image, applied, rng)
        record.append(applied)
    return image, record


def plan(recipe: str, rng: np.random.Generator, width: int) -> list[Applied]:
    """Draw what a recipe does to an image whose shorter side is `width`, without doing it.

    The plan is the one that `degrade` makes with this `rng` up to its first noise, and has the same distribution after
    it. An unknown recipe raises UserError.
    """
    return list(_load(recipe).plan(rng, width))


@functools.cache
def _load(name: str) -> ModuleType:
    return _REGISTRY.get(name)
