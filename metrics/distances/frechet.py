"""The Fréchet distance between the Gaussians of two sets of features (FID: Heusel et al. 2017)."""

from dataclasses import dataclass

import numpy as np

from metrics.distances.rows import CHUNK, blocks, check_rows


@dataclass(frozen=True)
class Moments:
    """The Gaussian that is fitted to a set of features.

    Attributes:
        mean: mean of the rows, float64 `[D]`.
        covariance: covariance of the rows, divided by `count` as in published distances, float64 `[D, D]`.
        count: number of rows.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int


def moments(features: np.ndarray, chunk: int = CHUNK) -> Moments:
    """Return mean and covariance of `[N, D]`, in memory or on disk.

    Raises UserError for fewer than 2 rows and for values that are not finite.
    """
    check_rows(features, 2, "the Fréchet distance")
    dims = features.shape[1]
    count, mean, scatter = 0, np.zeros(dims), np.zeros((dims, dims))
    for rows in blocks(features, chunk):  # [<= chunk, D]
        # Chan et al. 1979: blocks merge without a difference of large sums, so a large mean costs no digits.
        block_mean = rows.mean(axis=0)  # [D]
        centred = rows - block_mean
        shift = block_mean - mean  # [D]
        total = count + len(rows)
        scatter = scatter + centred.T @ centred + np.outer(shift, shift) * (count * len(rows) / total)
        mean = mean + shift * (len(rows) / total)
        count = total
    return Moments(mean, scatter / count, count)


def is_singular(moments: Moments) -> bool:
    """Return whether the covariance lacks full rank because there are too few rows, which makes distances too large."""
    return moments.count <= len(moments.mean)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return |mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)), singular covariances included.

    With A = F F^T and B = G G^T, A B has the eigenvalues of (F^T G)(F^T G)^T. The trace of its root is therefore the
    sum of the singular values of F^T G, which neither turns complex nor squares the rounding errors.
    """
    assert a.mean.shape == b.mean.shape, f"features of {len(a.mean)} and of {len(b.mean)} dimensions"
    root_trace = np.linalg.svd(_factor(a.covariance).T @ _factor(b.covariance), compute_uv=False).sum()
    distance = np.square(a.mean - b.mean).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root_trace
    return max(float(distance), 0.0)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """Return F `[D, rank]` with covariance = F F^T: Cholesky's factor, or a slower one for a singular covariance."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)  # [D], [D, D]
        positive = values > len(values) * np.finfo(np.float64).eps * values[-1]  # the others are rounding errors of 0
        return vectors[:, positive] * np.sqrt(values[positive])
