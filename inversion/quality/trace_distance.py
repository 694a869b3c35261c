"""How far images are from showing a photo's degradation: by traces, whatever the content."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from inversion.fidelity.jpeg_blocks import BLOCK
from inversion.quality.traces import traces

MEANS_WEIGHT = 20.0  # of the squared error of blocks' means: a degradation leaves colours as they are
LENGTH_WEIGHT = 1.0  # of the code's squared length: of codes with the same traces, the most likely one

Distance = Callable[[Tensor, Tensor], Tensor]  # images [N, C, R, R] and their q [N, q_dim] -> [N]


def trace_distance(targets: Tensor, sharp: Tensor) -> Distance:
    """Return the squared distance of traces from those of targets, with what keeps colours as `sharp` has them.

    Args:
        targets: photos `[N, C, R, R]` in [-1, 1].
        sharp: `G(w, 0)` of the images that will be compared, of the same shape.
    """
    wanted, means = traces(targets), F.avg_pool2d(sharp, BLOCK)

    def distance(images: Tensor, q: Tensor) -> Tensor:
        of_traces = (traces(images) - wanted).square().sum(1)
        of_means = (F.avg_pool2d(images, BLOCK) - means).square().mean((1, 2, 3))
        return of_traces + MEANS_WEIGHT * of_means + LENGTH_WEIGHT * q.square().sum(1)

    return distance
