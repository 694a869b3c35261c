"""Perceptual path length (PPL): the mean distance between neighbours in latent space (Karras et al. 2019; 2020)."""

import numpy as np

from metrics.distances.rows import check_rows

PERCENTILES = (1, 99)  # distances outside are left out


def path_length(distances: np.ndarray) -> float:
    """Return the mean of `[N]` distances, each divided by epsilon^2, from the 1st to the 99th percentile.

    Both ends are included; between two distances, a percentile is the outer one.

    Raises UserError for no distances and for values that are not finite.
    """
    check_rows(distances, 1, "the path length")
    distances = np.asarray(distances, np.float64)
    low = np.percentile(distances, PERCENTILES[0], method="lower")
    high = np.percentile(distances, PERCENTILES[1], method="higher")
    return float(distances[(low <= distances) & (distances <= high)].mean())
