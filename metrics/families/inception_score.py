"""IS, the inception score (Salimans et al. 2016)."""

from metrics.distances.inception_score import inception_score
from metrics.metric import FeatureSets, Metric, Outcome, note_of_few

SPLITS = 10
LEAST = 1000 * SPLITS  # images: a split of fewer images than Inception has classes lacks some


def _compute(sets: FeatureSets) -> Outcome:
    mean, std = inception_score(sets.fakes, SPLITS)
    notes = note_of_few(LEAST, "splits lack classes, and the score is too low", fakes=len(sets.fakes))
    return Outcome({"_mean": mean, "_std": std}, notes)


METRICS = [Metric("is{}", "inception", "probabilities", "none", SPLITS, _compute, larger_is_better=True)]
