"""The inception score of class probabilities (Salimans et al. 2016)."""

import numpy as np

from dnnlib.errors import counted
from metrics.distances.rows import blocks, check_rows


def inception_score(probabilities: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Return mean and population standard deviation of exp(E KL(p(y|x) || p(y))) over equal parts of the images.

    Args:
        probabilities: class probabilities `[N, classes]`, in memory or on disk, whose rows add up to 1.
        splits: number of parts, which follow the order of the rows.

    Raises UserError for fewer rows than splits and for values that are not finite.
    """
    assert splits >= 1, f"{splits} splits"
    check_rows(probabilities, splits, f"the inception score of {counted(splits, 'split')}")
    bounds = [split * len(probabilities) // splits for split in range(splits + 1)]
    scores = [_score(probabilities[start:end]) for start, end in zip(bounds, bounds[1:], strict=False)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(probabilities: np.ndarray) -> float:
    """Return exp(H(y) - H(y|x)), which equals exp(E KL) and takes a single pass over the rows."""
    total, conditional = np.zeros(probabilities.shape[1]), 0.0
    for rows in blocks(probabilities):  # [<= chunk, classes]
        total = total + rows.sum(axis=0)
        conditional += _entropy(rows)
    return float(np.exp(_entropy(total / len(probabilities)) - conditional / len(probabilities)))


def _entropy(probabilities: np.ndarray) -> float:
    """Return -sum p log p over all elements, with 0 log 0 = 0."""
    return float(-(probabilities * np.log(np.where(probabilities > 0, probabilities, 1))).sum())
