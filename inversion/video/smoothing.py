"""Smoothing over time: codes and squares of a clip that change slowly from frame to frame."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from images.squares import Square

REACH = 3  # standard deviations of the Gaussian on each side


def smooth_rows(rows: Tensor, sigma: float) -> Tensor:
    """Return rows `[F, ...]` averaged over time by a Gaussian of `sigma` frames; 0 leaves them as they are.

    Near the ends, where frames are missing, the weights of the others are scaled up to a sum of one.
    """
    if sigma == 0:
        return rows
    reach = min(math.ceil(REACH * sigma), len(rows) - 1)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=rows.device) / sigma).square())
    flat = rows.flatten(1).T[:, None].float()  # [numbers, 1, F]
    kernel = weights[None, None]
    total = torch.nn.functional.conv1d(torch.ones_like(flat[:1]), kernel, padding=reach)
    averaged = torch.nn.functional.conv1d(flat, kernel, padding=reach) / total  # [numbers, 1, F]
    return averaged[:, 0].T.reshape(rows.shape).to(rows.dtype)


def steady_squares(found: Sequence[Square | None], sigma: float) -> list[Square]:
    """Return a square for every frame: missing ones interpolated linearly, and all of them smoothed.

    Args:
        found: square of each frame; None where there is none. At least one frame must have a square.
        sigma: standard deviation of the Gaussian, in frames.
    """
    known = {index: dataclasses.astuple(square) for index, square in enumerate(found) if square is not None}
    assert known, "no frame has a square"
    numbers = np.array(list(known.values()))  # [K, 4]
    numbers[:, 3] = np.unwrap(numbers[:, 3])
    frames = np.arange(len(found))
    filled = np.stack([np.interp(frames, list(known), column) for column in numbers.T], axis=1)  # [F, 4]
    return [Square(*row) for row in smooth_rows(torch.from_numpy(filled).float(), sigma).double().tolist()]
