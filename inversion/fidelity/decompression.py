"""JPEG undone: what a photo most likely was before, given what was stored and what is expected of it.

What is stored of a cosine says an interval that it was in, as wide as its step. What is expected, by a network that has
seen the photo, errs by as much as it is seen to err at this frequency in all blocks. The cosine before compression is
then normally distributed around what is expected, cut off at the ends of the interval, and its mean errs least. So
nothing contradicts what is stored; a network that is right fills in what was rounded to zero, and takes away the steps
between blocks. Where everything was rounded to zero no error is seen; there a network is believed as far as it is right
about the frequencies of which something is left.
"""

import math

import torch
from torch import Tensor

from images.colour import from_planes, to_planes
from inversion.fidelity.compression import Compression, PlaneCode
from inversion.fidelity.jpeg_blocks import cosines, decoded, enlarged, means, of_cosines

# What is expected counts as erring by this many times the power that it is seen to err by: some places are far worse
# than the mean.
DOUBT = 2.0
SMALLEST_POWER = 1e-3  # of errors, in squared levels
FARTHEST = 12.0  # standard deviations from an interval, beyond which its nearer end is taken


def decompress(photo: Tensor, expected: Tensor, compression: Compression) -> Tensor:
    """Return a photo as it most likely was before compression.

    Args:
        photo: `[1, C, R, R]` in [-1, 1].
        expected: what is known of it besides, of the same shape.
        compression: how the photo was coded.

    Returns: an image of the same shape, unclamped.
    """
    seen, known = to_planes(photo)[0], to_planes(expected)[0]  # [C, R, R] each
    parts = zip(seen, known, compression.planes, strict=True)
    return from_planes(torch.stack([_before(*part) for part in parts])[None])


def _before(seen: Tensor, known: Tensor, code: PlaneCode | None) -> Tensor:
    """Return a plane `[R, R]` as it most likely was before it was coded; as it is where that is unknown."""
    if code is None:
        return seen
    expected = means(known[None], code.sampling)
    stored, likely = cosines(decoded(seen[None], code.sampling)), cosines(expected)
    found = of_cosines(mean_within(stored, likely, code.steps))
    return known + enlarged(found - expected, code.sampling)[0]


def mean_within(stored: Tensor, expected: Tensor, steps: Tensor) -> Tensor:
    """Return the mean of cosines that are within half a step of the multiple that was stored.

    Args:
        stored: cosines of each block, `[1, H, W, 8, 8]`.
        expected: what is expected of them, of the same shape.
        steps: distances of the multiples, `[8, 8]`.
    """
    middle = (stored / steps).round() * steps
    low, high = middle - steps / 2, middle + steps / 2
    believed = expected * _belief(expected, middle, steps)
    errors = ((believed - middle).square() - _rounding_power(steps)).clamp(min=0).mean((1, 2), keepdim=True)
    deviation = (DOUBT * errors + SMALLEST_POWER).sqrt()  # [1, 1, 1, 8, 8]
    return truncated_mean(believed, deviation, low, high)


def _rounding_power(steps: Tensor) -> Tensor:
    """Return the power of errors that are spread evenly over steps."""
    return steps.square() / 12


def _belief(expected: Tensor, middle: Tensor, steps: Tensor) -> Tensor:
    """Return which share of what is expected of each frequency counts, `[8, 8]`; of means all.

    Where rounding is stronger than the cosines no error is seen.
    """
    is_detail = torch.ones_like(steps, dtype=torch.bool)
    is_detail[0, 0] = False
    powers = torch.maximum(_power(expected), _power(middle))
    tell = is_detail & (powers > _rounding_power(steps))  # [1, 1, 1, 8, 8]
    errors = _power(expected - middle) - _rounding_power(steps)
    wrong = (errors * tell).sum() / (powers * tell).sum().clamp(min=SMALLEST_POWER)
    return torch.where(is_detail, 1 - wrong.clamp(0, 1), 1.0)


def _power(cosines_of_blocks: Tensor) -> Tensor:
    """Return the mean square of each frequency of `[1, H, W, 8, 8]` over blocks, `[1, 1, 1, 8, 8]`."""
    return cosines_of_blocks.square().mean((1, 2), keepdim=True)


def truncated_mean(centre: Tensor, deviation: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the mean of normal distributions that are cut off at `low` and `high`."""
    starts, ends = (low - centre) / deviation, (high - centre) / deviation
    is_above = starts > 0  # where shares are small numbers, which differ more exactly than those near 1
    nearer, farther = torch.where(is_above, starts, -ends), torch.where(is_above, ends, -starts)
    share = _share_beyond(nearer) - _share_beyond(farther)
    share = share.clamp(min=torch.finfo(centre.dtype).tiny)
    mean = centre + deviation * (_density(starts) - _density(ends)) / share
    is_far = (starts > FARTHEST) | (ends < -FARTHEST)
    return torch.where(is_far, centre, mean).clamp(low, high)


def _share_beyond(x: Tensor) -> Tensor:
    """Return which share of the standard normal distribution is greater; `torch.special.ndtr` is 0 from 6 on."""
    return torch.erfc(x / math.sqrt(2)) / 2


def _density(x: Tensor) -> Tensor:
    """Return the density of the standard normal distribution."""
    return (-x.square() / 2).exp() / math.sqrt(2 * math.pi)
