"""How often a recipe does what: shares of its plans."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from degradations.applied import Applied
from degradations.recipe import plan

PLANS = 4000  # plans that shares are counted in


def plan_shares(recipe: str, width: int, seed: int = 0, count: int = PLANS) -> dict[str, float]:
    """Return the share of images of this width with each family, each primitive, and each number of primitives.

    A name such as `noise alone` is that of images with nothing else. Raises UserError for an unknown recipe.
    """
    rng = np.random.default_rng(seed)
    counts = Counter(name for _ in range(count) for name in set(_names(plan(recipe, rng, width))))
    return {name: counts[name] / count for name in sorted(counts)}


def drawn_ranges(recipe: str, width: int, seed: int = 0, count: int = PLANS) -> dict[str, tuple[float, float]]:
    """Return the least and the largest value of each numeric parameter in such plans, by `primitive.parameter`."""
    rng = np.random.default_rng(seed)
    values: dict[str, list[float]] = {}
    for applied in (applied for _ in range(count) for applied in plan(recipe, rng, width)):
        for name, value in applied.parameters.items():
            if not isinstance(value, str):
                values.setdefault(f"{applied.name}.{name}", []).append(value)
    return {name: (min(values[name]), max(values[name])) for name in sorted(values)}


def _names(applied: list[Applied]) -> Iterable[str]:
    """Yield what a plan counts for."""
    yield f"{len(applied)} of them"
    for each in applied:
        yield each.family
        yield f"{each.family}: {each.name}"
    if len(applied) == 1:
        yield f"{applied[0].family} alone"
