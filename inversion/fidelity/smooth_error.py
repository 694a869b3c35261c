"""What steps between blocks tell of a network's error: that it varies less than they do.

A photo that was rounded block by block has steps at all borders of blocks, and what a network errs by, in colour or in
the place of a contour, has not. So of all images that may have been stored as the photo is, one is sought whose
difference from what is expected has the least total variation (after Alter, Durand and Froment 2005, "Adapted total
variation for artifact free decompression of JPEG images", who have nothing to expect); Huber's, since the error is no
drawing of flat pieces.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from inversion.fidelity.jpeg_blocks import BLOCK, cosines, of_cosines

STEPS = 30  # of the search, by which most steps between blocks are gone; farther on, cosines come to intervals' ends
# In units of a block's mean from one multiple to the next: how far a step goes, and what counts as even.
STEP = 0.05
EVEN = 0.05


def with_smooth_error(expected: Tensor, start: Tensor, low: Tensor, high: Tensor, steps: Tensor) -> Tensor:
    """Return samples `[1, H, W]` within intervals that differ from what is expected by something that varies little.

    The search is the first algorithm of Chambolle and Pock (2011), and ends early.

    Args:
        expected: `[1, H, W]`, in levels.
        start: where the search begins, of the same shape.
        low: where the interval of each block's cosines begins, `[1, H / 8, W / 8, 8, 8]`.
        high: where it ends.
        steps: distances of the multiples that were stored, `[8, 8]`.
    """
    unit = steps[0, 0] / BLOCK
    primal = STEP * unit
    dual = 1 / (8 * primal)
    found = extrapolated = start
    slopes = expected.new_zeros(2, *expected.shape)
    for _ in range(STEPS):
        slopes = (slopes + dual * _gradient(extrapolated - expected)) / (1 + dual * EVEN * unit)
        slopes = slopes / slopes.square().sum(0).sqrt().clamp(min=1)
        before, found = found, _within(found + primal * _divergence(slopes), low, high)
        extrapolated = 2 * found - before
    return found


def _within(samples: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the nearest samples whose cosines are within intervals."""
    return of_cosines(cosines(samples).clamp(low, high))


def _gradient(samples: Tensor) -> Tensor:
    """Return the differences to the next samples down and right of `[1, H, W]`, `[2, 1, H, W]`; 0 at the end."""
    return torch.stack([F.pad(samples.diff(dim=1), (0, 0, 0, 1)), F.pad(samples.diff(dim=2), (0, 1))])


def _divergence(slopes: Tensor) -> Tensor:
    """Return minus what is adjoint to the gradient, `[1, H, W]` of `[2, 1, H, W]`."""
    down, right = slopes[0, :, :-1], slopes[1, :, :, :-1]
    return F.pad(down, (0, 0, 0, 1)) - F.pad(down, (0, 0, 1, 0)) + F.pad(right, (0, 1)) - F.pad(right, (1, 0))
