"""Damage that a photo itself tells: the power of its noise, and the blocks of JPEG."""

import torch
from torch import Tensor

from inversion.fidelity.bands import band_energies, bands, local_power
from inversion.fidelity.jpeg_blocks import BLOCK

QUIET = 0.15  # share of the places that are the quietest ones
QUIET_POWER = 0.85  # power of white noise in the places of that rank, over its mean power


def noise_power(photo: Tensor, restored: Tensor) -> Tensor:
    """Return the power `[N]` of white noise that photos `[N, C, R, R]` have beyond sharp images of the same kind.

    It is told by the quietest places, where an image has no detail.
    """
    finest, energy = next(bands(photo)), band_energies(photo)[0]
    quiet = [local_power(band, overall=0).flatten(1).quantile(QUIET, dim=1) for band in (finest, next(bands(restored)))]
    return (quiet[0] - quiet[1]).clamp(min=0) / (energy * QUIET_POWER)


def edge_power(photo: Tensor) -> Tensor:
    """Return the power `[N]` of the steps at edges of JPEG's blocks; 0 for photos of less than two blocks a side."""
    if photo.shape[-1] < 2 * BLOCK:
        return photo.new_zeros(photo.shape[:1])
    return (_vertical_edge_power(photo) + _vertical_edge_power(photo.transpose(2, 3))) / 2


def _vertical_edge_power(photo: Tensor) -> Tensor:
    """Return the power `[N]` of the steps at vertical edges of blocks beyond that of other steps, half of a step's.

    Medians over the edges, since contours of what the photo shows lie on some of them.
    """
    side = photo.shape[-1] // BLOCK * BLOCK
    steps = photo[..., :side, :side].diff(dim=3).square().mean(1)  # [N, side, side - 1]
    segments = steps.unflatten(1, (-1, BLOCK)).mean(2)  # [N, side / 8, side - 1]
    is_edge = torch.arange(1, side, device=photo.device) % BLOCK == 0
    at_edges, others = (_median(segments[..., chosen].flatten(1)) for chosen in (is_edge, ~is_edge))
    return (at_edges - others).clamp(min=0) / 2


def _median(rows: Tensor) -> Tensor:
    """Return the lower median of each row of `[N, L]`, by sorting, which exporters know."""
    return rows.sort(dim=1).values[:, (rows.shape[1] - 1) // 2]
