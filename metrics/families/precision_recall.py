"""Precision and recall of the manifolds of features, k = 3 (Kynkaanniemi et al. 2019)."""

from metrics.distances.manifold import precision_recall
from metrics.metric import FeatureSets, Metric, Outcome, note_of_few
from torch_utils.precision import with_float64

K = 3
LEAST = 1000  # images


def _compute(sets: FeatureSets) -> Outcome:
    reals, fakes = sets.require_reals(), sets.fakes
    precision, recall = precision_recall(reals, fakes, K, with_float64(sets.device))
    notes = note_of_few(LEAST, "the manifolds are coarse", fakes=len(fakes), reals=len(reals))
    return Outcome({"_precision": precision, "_recall": recall}, notes)


METRICS = [
    Metric("pr{}3_full", "vgg16", "features", "all", K + 1, _compute, larger_is_better=True),
    Metric("pr{}3", "vgg16", "features", "many", K + 1, _compute, larger_is_better=True),
    Metric("pr{}_cifar", "cifar", "features", "all", K + 1, _compute, larger_is_better=True),
]
