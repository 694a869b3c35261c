"""Windows: parts of images at random places, for discriminators of what is local."""

import torch
from torch import Tensor

from torch_utils.seeding import BatchRandom


def random_windows(images: Tensor, side: int, step: int, rng: BatchRandom) -> Tensor:
    """Return a window `[N, C, side, side]` of each of `images [N, C, R, R]`, R at least `side`.

    Places are multiples of `step` pixels, all equally likely, so that each window shows the same phase of a grid of
    that period.
    """
    places = (images.shape[-1] - side) // step + 1
    corners = step * rng.randint(0, places, 2)  # [N, 2], of rows and columns
    rows, columns = (corners[:, None] + torch.arange(side, device=corners.device)[:, None]).unbind(2)  # [N, side] each
    channels, width = images.shape[1], images.shape[-1]
    bands = images.gather(2, rows[:, None, :, None].expand(-1, channels, -1, width))  # [N, C, side, R]
    return bands.gather(3, columns[:, None, None, :].expand(-1, channels, side, -1))
