"""JPEG undone: what a photo most likely was before, given what was stored and what is expected of it.

What is stored of a cosine says an interval that it was in, as wide as its step. What is expected, by a network that has
seen the photo, errs by as much as it is seen to err at this frequency in all blocks, more where the blocks around are
farther off. The cosine before compression is then normally distributed around what is expected, cut off at the ends of
the interval, and its mean errs least. So nothing contradicts what is stored; a network that is right fills in what was
rounded to zero, and takes away the steps between blocks. Where it is not, steps tell its error, as far as that is
smooth (`inversion.fidelity.smooth_error`). Where everything was rounded to zero no error is seen; there a network is
believed as far as it is right about the frequencies of which something is left.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from images.colour import from_planes, to_planes
from inversion.fidelity.compression import Compression, PlaneCode
from inversion.fidelity.jpeg_blocks import cosines, decoded, enlarged, means, of_cosines
from inversion.fidelity.smooth_error import with_smooth_error

# What is expected counts as erring by this many times the power that it is seen to err by: some places are far worse
# than the mean.
DOUBT = 3.0
COARSE = 3  # cosines down and right by which a block is seen to be farther off than others
LEAST_SHARE, MOST_SHARE = 0.02, 4.0  # of the mean power of errors, in single blocks
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
    likely = expected * _belief(expected, middle, steps)
    found = truncated_mean(likely, _deviation(likely - middle, steps), low, high)
    likely = cosines(with_smooth_error(of_cosines(likely), of_cosines(found), low, high, steps))
    return truncated_mean(likely, _deviation(likely - middle, steps), low, high)


def _deviation(distances: Tensor, steps: Tensor) -> Tensor:
    """Return by how much expectations may err, by their distances `[1, H, W, 8, 8]` from stored multiples.

    Its power is the mean of all blocks for each frequency, times what the coarse ones of the blocks around have of it.
    """
    rounding = _rounding_power(steps)
    power = (distances.square() - rounding).clamp(min=0).mean((1, 2), keepdim=True)  # [1, 1, 1, 8, 8]
    coarse = (distances.square() / (power + rounding))[..., :COARSE, :COARSE].mean((3, 4))  # [1, H, W]
    around = F.avg_pool2d(F.pad(coarse[None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[0]
    share = around / around.mean().clamp(min=SMALLEST_POWER)
    return (DOUBT * power * share.clamp(LEAST_SHARE, MOST_SHARE)[..., None, None] + SMALLEST_POWER).sqrt()


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
