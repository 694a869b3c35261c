"""KID (Binkowski et al. 2018), and the same distance between features of the embedded detector."""

import numpy as np

from metrics.distances.polynomial_kernel import kernel_distance
from metrics.metric import Metric, Outcome, Rows


def _compute(rows: Rows) -> Outcome:
    return Outcome({"": kernel_distance(rows.reals, rows.fakes, np.random.RandomState(rows.seed))})


METRICS = [
    Metric("kid{}_full", "inception", "features", "all", 2, _compute),
    Metric("kid{}", "inception", "features", "many", 2, _compute),
    Metric("kd{}_cifar", "cifar", "features", "all", 2, _compute),
]
