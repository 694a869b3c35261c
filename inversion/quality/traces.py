"""Traces: what a degradation leaves in an image, whatever the image shows.

Two images of other content have no pixel in common, yet blur takes the same frequencies from both, noise fills their
quiet places alike, and JPEG marks the edges of its blocks. So a photo's traces tell its degradation where the network's
image of it errs in content by far more than the degradation changes.
"""

import functools
import itertools
import math

import torch
from torch import Tensor

from inversion.fidelity.bands import DIRECTIONS, bands, local_power
from inversion.fidelity.damage import QUIET, edge_power

RINGS = (0.09, 0.125, 0.18, 0.25, 0.35, 0.5, 0.71)  # frequencies between rings, in cycles a pixel: half octaves
WHOLE = 64  # side from which on every ring has frequencies in every direction
FLOOR = (1 / 127.5) ** 2  # power of one grey level, added to all powers: what is below leaves no trace
LEAST_EDGES = 0.05  # added to the power of blocks' edges over that of the finest band: contours make as much
QUIET_WEIGHT = 2.0  # of the quiet places' power beside a ring's in one direction, of which there are several
EDGE_WEIGHT = 1.4


def traces(images: Tensor) -> Tensor:
    """Return the traces of images `[N, C, R, R]` in [-1, 1], `[N, traces]`.

    They are logarithms: of the power in each ring of frequencies and direction, of the finest band's power in the
    quietest places, and of the power of steps at JPEG's blocks' edges over that of the finest band. The image's corner
    is one of a block. Differentiable.
    """
    finest = next(bands(images))
    quiet = local_power(finest, overall=0).flatten(1).quantile(QUIET, dim=1)
    edges = edge_power(images) / finest.square().mean((1, 2, 3)).clamp(min=FLOOR)
    single = QUIET_WEIGHT * (quiet + FLOOR).log(), EDGE_WEIGHT * (edges + LEAST_EDGES).log()
    return torch.cat([(_ring_powers(images) + FLOOR).log(), torch.stack(single, dim=1)], dim=1)


def count_traces(side: int) -> int:
    """Return how many traces images of this side have: small ones have no frequencies in some rings and directions."""
    return 2 + _masks(min(side, WHOLE), torch.device("cpu")).shape[1]


def _ring_powers(images: Tensor) -> Tensor:
    """Return the mean power over channels in each ring and direction, `[N, rings * directions]`; of white noise its."""
    side = images.shape[-1]
    window, masks = _window(side, images.device), _masks(side, images.device)
    centred = (images - images.mean((2, 3), keepdim=True)) * window
    spectrum = torch.fft.rfft2(centred, norm="ortho")  # [N, C, R, R // 2 + 1]
    power = (spectrum.real.square() + spectrum.imag.square()).mean(1)
    return power.flatten(1) @ masks


@functools.cache
@torch.inference_mode(False)  # the first to ask may not train, and others may
def _window(side: int, device: torch.device) -> Tensor:
    """Return a Hann window `[R, R]` of mean square 1, without which borders would fill all frequencies."""
    line = torch.hann_window(side + 2, periodic=False, device=device)[1:-1]
    return torch.outer(line, line) / line.square().mean()


@functools.cache
@torch.inference_mode(False)
def _masks(side: int, device: torch.device) -> Tensor:
    """Return the weights of frequencies in each ring and direction that has any, `[R * (R // 2 + 1), parts]`.

    Each column adds up to 1.
    """
    down, right = torch.fft.fftfreq(side, device=device)[:, None], torch.fft.rfftfreq(side, device=device)
    frequency = (down.square() + right.square()).sqrt()
    sector = (torch.atan2(down, right) / (math.pi / DIRECTIONS)).round() % DIRECTIONS
    parts = [
        (frequency > low) & (frequency <= high) & (sector == direction)
        for low, high in itertools.pairwise(RINGS)
        for direction in range(DIRECTIONS)
    ]
    masks = torch.stack([part.flatten() for part in parts if part.any()], dim=1).float()
    return masks / masks.sum(0)
