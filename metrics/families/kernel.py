"""KID (Binkowski et al. 2018), and the same distance between features of the embedded detector."""

import numpy as np

from metrics.distances.polynomial_kernel import kernel_distance
from metrics.metric import FeatureSets, Metric, Outcome


def _compute(sets: FeatureSets) -> Outcome:
    return Outcome({"": kernel_distance(sets.require_reals(), sets.fakes, np.random.RandomState(sets.seed))})


METRICS = [
    Metric("kid{}_full", "inception", "features", "all", 2, _compute),
    Metric("kid{}", "inception", "features", "many", 2, _compute),
    Metric("kd{}_cifar", "cifar", "features", "all", 2, _compute),
]
