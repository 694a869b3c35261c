"""Primitive degradations by name or family; each is one file of `degradations/primitives/`."""

import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from degradations.applied import Applied
from degradations.images import check_arguments, shorter_side
from dnnlib.registry import Registry

# Arguments of the primitives' `sample`, such as ranges in place of those of training, by primitive and argument.
Ranges = Mapping[str, Mapping[str, Any]]

_REGISTRY = Registry("degradations.primitives", "degradation")


def primitive_names() -> list[str]:
    """Return the names of all primitives, sorted."""
    return _REGISTRY.names()


def apply_primitive(
    image: np.ndarray, name: str, rng: np.random.Generator, **parameters: Any
) -> tuple[np.ndarray, Applied]:
    """Degrade uint8 [H, W, 1 or 3] by one primitive; return a new image of the same shape and the record.

    Without `parameters` they are drawn from the ranges of training; otherwise all of the primitive's must be given.
    Raises UserError for an unknown name.
    """
    check_arguments(image, rng)
    applied = plan_primitive(name, rng, shorter_side(image), **parameters)
    return perform(image, applied, rng), applied


def plan_primitive(name: str, rng: np.random.Generator, width: int, **parameters: Any) -> Applied:
    """Return the primitive and its parameters for an image of this width; parameters not given are drawn.

    Raises UserError for an unknown name.
    """
    primitive = _load(name)
    return Applied(primitive.FAMILY, name, parameters or primitive.sample(rng, width))


def draw_primitive(name: str, rng: np.random.Generator, width: int, ranges: Ranges) -> Applied:
    """Return the primitive with parameters drawn for an image of this width, some of them from other `ranges`."""
    primitive = _load(name)
    return Applied(primitive.FAMILY, name, primitive.sample(rng, width, **ranges.get(name, {})))


def perform(image: np.ndarray, applied: Applied, rng: np.random.Generator) -> np.ndarray:
    """Apply a planned primitive to uint8 [H, W, 1 or 3]; return a new image of the same shape."""
    return _load(applied.name).apply(image, rng, **applied.parameters)


@functools.cache
def family_members(family: str) -> tuple[str, ...]:
    """Return the names of the primitives of a family, sorted."""
    families = {name: _load(name).FAMILY for name in primitive_names()}
    return tuple(name for name in families if families[name] == family)


@functools.cache
def _load(name: str) -> ModuleType:
    # Cached: listing the folder for every image would take longer than most of the filters.
    return _REGISTRY.get(name)
