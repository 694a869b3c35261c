"""Random sequences of degradations, at most one of each family."""

from collections.abc import Iterator

import numpy as np

from degradations.applied import Applied
from degradations.primitive import Ranges, draw_primitive, family_members

# The order in which they happen to a photo: the lens blurs, the sensor adds noise, storing shrinks and compresses.
FAMILIES = ("blur", "noise", "compression")
PROBABILITY = 0.5  # probability of each family that is not certain

OF_TRAINING: Ranges = {}  # ranges of the primitives themselves
# Ranges for images of 64 pixels or so: per-pixel noise and JPEG weigh more there than at 256, and a factor of 0.1
# leaves 6 pixels of a face.
SMALL_IMAGES: Ranges = {"downscale": {"factor": (0.25, 0.9)}, "gaussian_noise": {"variance": (10.0, 300.0)}}

# The released code: box filters of 3 to 25 px, kernels of one size in pixels from 256 px on, single pixels in place of
# means where images shrink and grow. Smaller images, which it does not have, get kernels in proportion.
_ONE_SIZE = {"widest": 256}
RELEASED: Ranges = {
    "box_blur": {"sizes": (3, 25), **_ONE_SIZE},
    "gaussian_blur": _ONE_SIZE,
    "median_blur": _ONE_SIZE,
    "motion_blur": _ONE_SIZE,
    "downscale": {"interpolations": ("nearest",)},
}
# Small degradations (supplement, D.5), milder than nearly all that is trained on.
_SMALL_KERNELS = {"sizes": (3, 7)}
SLIGHT: Ranges = {
    "box_blur": _SMALL_KERNELS,
    "gaussian_blur": _SMALL_KERNELS,
    "median_blur": {"sizes": (3, 3)},
    "motion_blur": _SMALL_KERNELS,
    "gaussian_noise": {"variance": (10.0, 60.0)},
    "downscale": {"factor": (0.6, 0.9)},
    "jpeg": {"quality": (60, 85)},
}
KINDS = ("blur", "noise", "downscale", "jpeg")  # kinds of degradation, as one sees them


def draw_families(rng: np.random.Generator, certain: int) -> list[str]:
    """Pick `certain` families at random and each of the others with probability 1/2; return them in order."""
    ranks = rng.permutation(len(FAMILIES))
    chances = rng.random(len(FAMILIES))
    kept = (ranks < certain) | (chances < PROBABILITY)  # [families]
    return [family for family, keep in zip(FAMILIES, kept, strict=True) if keep]


def plan_family(family: str, rng: np.random.Generator, width: int, ranges: Ranges = OF_TRAINING) -> Applied:
    """Draw one primitive of `family`, all equally likely, for an image of this width."""
    names = family_members(family)
    return draw_primitive(names[rng.integers(len(names))], rng, width, ranges)


def plan_mixture(rng: np.random.Generator, width: int, certain: int, ranges: Ranges = OF_TRAINING) -> Iterator[Applied]:
    """Draw one primitive of each family that `draw_families` picks."""
    for family in draw_families(rng, certain):
        yield plan_family(family, rng, width, ranges)


def plan_balanced(rng: np.random.Generator, width: int, ranges: Ranges = OF_TRAINING) -> Iterator[Applied]:
    """Draw, each half of the time, one kind of degradation alone, or a mixture of two families or more.

    The kinds are blur, noise, low resolution and JPEG, all equally likely. In the plain mixture a family is alone in a
    quarter of the images, so that white noise and the borders of JPEG's blocks are rare.
    """
    if rng.random() < PROBABILITY:
        yield from plan_mixture(rng, width, 2, ranges)
        return
    yield plan_kind(rng, width, ranges)


def plan_kind(rng: np.random.Generator, width: int, ranges: Ranges = OF_TRAINING) -> Applied:
    """Draw one primitive of one of the `KINDS`, all equally likely."""
    kind = KINDS[rng.integers(len(KINDS))]
    return plan_family(kind, rng, width, ranges) if kind in FAMILIES else draw_primitive(kind, rng, width, ranges)
