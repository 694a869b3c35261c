"""The kernel distance between two sets of features (KID: Binkowski et al. 2018)."""

import numpy as np

from metrics.distances.rows import check_rows

SUBSET_SIZE = 1000  # rows of a subset, in KID as published


def kernel_distance(
    real: np.ndarray,
    fake: np.ndarray,
    random: np.random.RandomState,
    subsets: int = 100,
    subset_size: int = SUBSET_SIZE,
) -> float:
    """Return the squared maximum mean discrepancy under the kernel (x.y / D + 1)^3, averaged over random subsets.

    The estimate is unbiased: it scatters around 0 for sets of one distribution, and may be negative.

    Args:
        real: features of real images `[N, D]`, in memory or on disk.
        fake: features of generated images `[M, D]`.
        random: generator that draws a subset of the fake rows, then one of the real rows, and so on, each without
            replacement.
        subsets: number of pairs of subsets.
        subset_size: number of rows in each subset; at most as many as the smaller set has.

    Raises UserError for fewer than 2 rows and for values that are not finite.
    """
    assert real.shape[1] == fake.shape[1], f"features of {real.shape[1]} and of {fake.shape[1]} dimensions"
    assert subsets >= 1 and subset_size >= 2, f"{subsets} subsets of {subset_size} rows"
    for rows in (real, fake):
        check_rows(rows, 2, "the kernel distance")
    size = min(len(real), len(fake), subset_size)
    estimates = []
    for _ in range(subsets):
        fakes = _draw(fake, size, random)
        estimates.append(squared_discrepancy(fakes, _draw(real, size, random)))
    return float(np.mean(estimates))


def squared_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased estimate of MMD^2 from float64 `[m, D]` and `[n, D]` (Gretton et al. 2012, Eq. 3).

    Pairs of a row with itself are left out.
    """
    within = sum(_mean_of_pairs(_kernel(rows, rows)) for rows in (x, y))
    return within - 2 * float(_kernel(x, y).mean())


def _draw(rows: np.ndarray, size: int, random: np.random.RandomState) -> np.ndarray:
    """Return `size` random rows in float64; they are read in the order on disk, which does not matter for sums."""
    return np.asarray(rows[np.sort(random.choice(len(rows), size, replace=False))], np.float64)


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    values = x @ y.T / x.shape[1] + 1  # [m, n]
    return values * values * values


def _mean_of_pairs(kernel: np.ndarray) -> float:
    """Return the mean of `[m, m]` without its diagonal."""
    size = len(kernel)
    return float(kernel.sum() - np.trace(kernel)) / (size * (size - 1))
