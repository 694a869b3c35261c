"""Precision and recall between the manifolds of two sets of features (Kynkaanniemi et al. 2019)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from metrics.distances.rows import blocks, check_rows

CPU = torch.device("cpu")

# Products are in double precision: a far outlier moves the centre and would cost float32 its digits, tensor cores would
# round float32 to 11 bits, and the results are the same on every device.
EPSILON = torch.finfo(torch.float64).eps
DISTANCE_BITS = 11  # significant bits of float16, in which published implementations compare distances


def precision_recall(
    real: np.ndarray, fake: np.ndarray, k: int = 3, device: torch.device = CPU, chunk: int = 4096
) -> tuple[float, float]:
    """Return the share of fake rows within the manifold of the real ones, and the reverse.

    A manifold is the union of balls around the rows, each as large as the distance to the k-th nearest other row.
    The surface belongs to it, and distances that are equal in float16 count as equal. Published numbers are computed
    like that; they are a little larger than those of exact comparisons.

    Args:
        real: features of real images `[N, D]`, in memory or on disk.
        fake: features of generated images `[M, D]`.
        k: number of neighbours.
        device: device of the products; it holds two chunks of rows and `chunk` x `chunk` distances at a time.
        chunk: number of rows in a chunk.

    Raises UserError for fewer than k + 1 rows and for values that are not finite.
    """
    assert real.shape[1] == fake.shape[1], f"features of {real.shape[1]} and of {fake.shape[1]} dimensions"
    assert k >= 1, f"k {k} is not positive"
    for rows in (real, fake):
        check_rows(rows, k + 1, f"precision and recall with {k} neighbours")
    centre = sum(rows.sum(axis=0) for rows in blocks(real, chunk)) / len(real)  # around it, the products cancel least
    real_chunks, fake_chunks = (_Chunks(rows, centre, device, chunk) for rows in (real, fake))
    real_radii, fake_radii = (_squared_radii(chunks, k) for chunks in (real_chunks, fake_chunks))
    fake_inside = [torch.zeros(len(radii), dtype=torch.bool, device=device) for radii in fake_radii]
    real_inside = []
    for reals, real_radius in zip(real_chunks, real_radii, strict=True):
        inside = torch.zeros(len(reals), dtype=torch.bool, device=device)
        for fakes, fake_radius, fakes_inside in zip(fake_chunks, fake_radii, fake_inside, strict=True):
            distances = _squared_distances(reals, fakes)  # [real, fake]
            inside |= (distances <= fake_radius).any(dim=1)
            fakes_inside |= (distances <= real_radius[:, None]).any(dim=0)
        real_inside.append(inside)
    return _share(fake_inside), _share(real_inside)


class _Chunks:
    """Centred float64 rows on a device, `chunk` at a time; may be iterated repeatedly."""

    def __init__(self, rows: np.ndarray, centre: np.ndarray, device: torch.device, chunk: int) -> None:
        self._rows = rows
        self._centre = centre
        self._device = device
        self._chunk = chunk

    def __iter__(self) -> Iterator[Tensor]:
        for rows in blocks(self._rows, self._chunk):
            yield torch.from_numpy(rows - self._centre).to(self._device)


def _squared_radii(chunks: _Chunks, k: int) -> list[Tensor]:
    """Return, for each chunk, squared radii `[rows]` up to which points count as within a row's ball."""
    radii = []
    for rows in chunks:  # [rows, D]
        nearest = rows.new_empty(len(rows), 0)
        for others in chunks:
            nearest = torch.cat([nearest, _smallest(_squared_distances(rows, others), k + 1)], dim=1)
            nearest = _smallest(nearest, k + 1)  # [rows, <= k + 1], ascending
        # A row is its own nearest neighbour, so the k-th other one is number k + 1.
        exact = nearest[:, k].clamp(min=0)  # [rows]
        radii.append(_round_up((exact + _rounding_error(rows, exact)).sqrt()).square())
    return radii


def _smallest(values: Tensor, count: int) -> Tensor:
    return values.topk(min(count, values.shape[1]), dim=1, largest=False).values


def _rounding_error(rows: Tensor, squared_radii: Tensor) -> Tensor:
    """Return a bound of the errors of two squared distances, from each row `[rows, D]` to the surface of its ball.

    A sum of D products errs by up to D eps |x| |y|; the norms of points follow from those of the row and the radius.
    """
    return 16 * rows.shape[1] * EPSILON * (rows.square().sum(dim=1) + squared_radii)


def _round_up(distances: Tensor) -> Tensor:
    """Return the largest numbers that equal `distances` when both are rounded to `DISTANCE_BITS`; 0 stays 0.

    Comparing with these is the same as comparing rounded numbers.
    """
    fractions, exponents = torch.frexp(distances)
    rounded = torch.ldexp((fractions * 2**DISTANCE_BITS).round(), exponents - DISTANCE_BITS)
    half_steps = torch.ldexp(rounded.sign() / 2, torch.frexp(rounded).exponent - DISTANCE_BITS)
    return rounded + half_steps


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    x_norms, y_norms = (rows.square().sum(dim=1) for rows in (x, y))
    return torch.addmm(y_norms[None], x, y.T, alpha=-2).add_(x_norms[:, None])  # [rows of x, rows of y]


def _share(inside: list[Tensor]) -> float:
    return torch.cat(inside).double().mean().item()
