"""Random families of degradations, applied one after the other."""

import numpy as np

from degradations.applied import Applied
from degradations.primitives import apply_primitive, family_members

# The order in which a photo meets them: the lens blurs, the sensor adds noise, storing shrinks and compresses.
FAMILIES = ("blur", "noise", "compression")
PROBABILITY = 0.5  # of each family that is not certain


def draw_families(rng: np.random.Generator, certain: int) -> list[str]:
    """Pick `certain` families at random and each of the others with probability 1/2; return them in order."""
    ranks = rng.permutation(len(FAMILIES))
    chances = rng.random(len(FAMILIES))
    kept = (ranks < certain) | (chances < PROBABILITY)  # [families]
    return [family for family, keep in zip(FAMILIES, kept, strict=True) if keep]


def apply_family(image: np.ndarray, family: str, rng: np.random.Generator) -> tuple[np.ndarray, Applied]:
    """Degrade uint8 [H, W, C] by one primitive of `family`, all equally likely."""
    names = family_members(family)
    return apply_primitive(image, names[rng.integers(len(names))], rng)


def apply_mixture(image: np.ndarray, rng: np.random.Generator, certain: int) -> tuple[np.ndarray, list[Applied]]:
    """Degrade uint8 [H, W, C] by one primitive of each drawn family; see `draw_families`."""
    record = []
    for family in draw_families(rng, certain):
        image, applied = apply_family(image, family, rng)
        record.append(applied)
    return image, record
