"""NIQE: how far an image's statistics are from those of pristine photos; lower is better, no reference is needed.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing Letters 2013.
"""

import torch
from torch import Tensor

from metrics.niqe.pristine import PristineModel, fit_gaussian
from metrics.niqe.statistics import block_features


@torch.no_grad()
def niqe(images: Tensor, pristine: PristineModel) -> Tensor:
    """Return the distance of each image to the pristine model, float64 `[N]` on the images' device.

    Numbers compare only between equal models, as these fix block and photos. Programs that turn RGB into luma of
    16..235 give others than the authors' program, which takes MATLAB's rgb2gray and is followed here.

    Flat blocks have no statistics. An image of one block that has them (where the authors' program fails) counts with
    covariance zero; an image without any, such as one of a single colour, is infinitely far.

    Args:
        images: `[N, C, H, W]`, gray or RGB, uint8 or float in 0..255, at least as large as the model's block.
        pristine: the model; its block applies.

    Raises UserError when the images are smaller than a block.
    """
    features, _ = block_features(images, pristine.block)  # [N, B, 36]
    mean, covariance, count = fit_gaussian(features)
    measurable = count > 0
    difference = torch.where(measurable.unsqueeze(-1), mean - pristine.mean.to(mean.device), 0.0).unsqueeze(-1)
    precision = torch.linalg.pinv((covariance + pristine.covariance.to(mean.device)) / 2)
    squared = (difference.mT @ precision @ difference).flatten()
    return torch.where(measurable, squared.clamp(min=0).sqrt(), torch.inf)  # rounding can make zero negative
