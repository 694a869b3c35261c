"""IS, the inception score (Salimans et al. 2016)."""

from metrics.distances.inception_score import inception_score
from metrics.metric import Metric, Outcome, Rows

SPLITS = 10


def _compute(rows: Rows) -> Outcome:
    mean, std = inception_score(rows.fakes, SPLITS)
    return Outcome({"_mean": mean, "_std": std})


METRICS = [Metric("is{}", "inception", "probabilities", "none", SPLITS, _compute, larger_is_better=True)]
