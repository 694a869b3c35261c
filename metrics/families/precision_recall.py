"""Precision and recall of the manifolds of features, k = 3 (Kynkaanniemi et al. 2019)."""

from metrics.distances.manifold import precision_recall
from metrics.metric import FeatureSets, Metric, Outcome
from torch_utils.precision import with_float64

K = 3


def _compute(sets: FeatureSets) -> Outcome:
    precision, recall = precision_recall(sets.require_reals(), sets.fakes, K, with_float64(sets.device))
    return Outcome({"_precision": precision, "_recall": recall})


METRICS = [
    Metric("pr{}3_full", "vgg16", "features", "all", K + 1, _compute, larger_is_better=True),
    Metric("pr{}3", "vgg16", "features", "many", K + 1, _compute, larger_is_better=True),
    Metric("pr{}_cifar", "cifar", "features", "all", K + 1, _compute, larger_is_better=True),
]
