"""IS, the inception score (Salimans et al. 2016)."""

from metrics.distances.inception_score import inception_score
from metrics.metric import FeatureSets, Metric, Outcome

SPLITS = 10


def _compute(sets: FeatureSets) -> Outcome:
    mean, std = inception_score(sets.fakes, SPLITS)
    return Outcome({"_mean": mean, "_std": std})


METRICS = [Metric("is{}", "inception", "probabilities", "none", SPLITS, _compute, larger_is_better=True)]
