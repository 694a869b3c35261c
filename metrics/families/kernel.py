"""KID (Binkowski et al. 2018), and the same distance between features of the embedded detector."""

import numpy as np

from metrics.distances.polynomial_kernel import SUBSET_SIZE, kernel_distance
from metrics.metric import FeatureSets, Metric, Outcome, note_of_few


def _compute(sets: FeatureSets) -> Outcome:
    reals, fakes = sets.require_reals(), sets.fakes
    notes = note_of_few(
        SUBSET_SIZE, "each subset is smaller, and the distance noisy", fakes=len(fakes), reals=len(reals)
    )
    return Outcome({"": kernel_distance(reals, fakes, np.random.RandomState(sets.seed))}, notes)


METRICS = [
    Metric("kid{}_full", "inception", "features", "all", 2, _compute),
    Metric("kid{}", "inception", "features", "many", 2, _compute),
    Metric("kd{}_cifar", "cifar", "features", "all", 2, _compute),
]
