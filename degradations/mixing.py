"""Random sequences of degradations, at most one of each family."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.primitive import family_members, plan_primitive

# The order in which they happen to a photo: the lens blurs, the sensor adds noise, storing shrinks and compresses.
FAMILIES = ("blur", "noise", "compression")
PROBABILITY = 0.5  # probability of each family that is not certain


def draw_families(rng: np.random.Generator, certain: int) -> list[str]:
    """Pick `certain` families at random and each of the others with probability 1/2; return them in order."""
    ranks = rng.permutation(len(FAMILIES))
    chances = rng.random(len(FAMILIES))
    kept = (ranks < certain) | (chances < PROBABILITY)  # [families]
    return [family for family, keep in zip(FAMILIES, kept, strict=True) if keep]


def plan_family(family: str, rng: np.random.Generator, width: int) -> Applied:
    """Draw one primitive of `family`, all equally likely, for an image of this width."""
    names = family_members(family)
    return plan_primitive(names[rng.integers(len(names))], rng, width)


def plan_mixture(rng: np.random.Generator, width: int, certain: int) -> Iterator[Applied]:
    """Draw one primitive of each family that `draw_families` picks."""
    for family in draw_families(rng, certain):
        yield plan_family(family, rng, width)
