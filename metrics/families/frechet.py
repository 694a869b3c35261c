"""FID (Heusel et al. 2017), and the same distance between features of the embedded detector."""

import numpy as np

from metrics.distances.frechet import frechet_distance, is_singular, moments
from metrics.metric import FeatureSets, Metric, Outcome


def _compute(sets: FeatureSets) -> Outcome:
    fakes, reals = moments(sets.fakes), moments(sets.require_reals())
    short = [f"{m.count} {what}" for m, what in ((fakes, "fakes"), (reals, "reals")) if is_singular(m)]
    notes: tuple[str, ...] = ()
    if short:
        dims = np.shape(sets.fakes)[1]
        notes = (f"singular covariance ({' and '.join(short)} in {dims} dimensions): the distance is too large",)
    return Outcome({"": frechet_distance(fakes, reals)}, notes)


METRICS = [
    Metric("fid{}_full", "inception", "features", "all", 2, _compute),
    Metric("fid{}", "inception", "features", "many", 2, _compute),
    Metric("fd{}_cifar", "cifar", "features", "all", 2, _compute),
]
