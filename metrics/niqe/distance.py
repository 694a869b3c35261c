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

    Numbers can be compared only if they are of the same model, which fixes block and photos. The authors' program turns
    RGB into gray by MATLAB's rgb2gray, as is done here; programs that compute luma in 16..235 give other numbers.

    Flat blocks have no statistics. For an image with a single block that is not flat (where the authors' program
    fails), the covariance is zero; for one without any, such as an image of one colour, the distance is infinite.

    Args:
        images: images `[N, C, H, W]`, gray or RGB, uint8 or float in 0..255, at least as large as the model's block.
        pristine: the model; images are measured in blocks of its size.

    Raises UserError when the images are smaller than a block.
    """
    features, _ = block_features(images, pristine.block)  # [N, B, 36]
    mean, covariance, count = fit_gaussian(features)  # [N, 36], [N, 36, 36], [N]
    measurable = count > 0
    difference = torch.where(measurable.unsqueeze(-1), mean - pristine.mean.to(mean.device), 0.0).unsqueeze(-1)
    precision = torch.linalg.pinv((covariance + pristine.covariance.to(mean.device)) / 2)  # [N, 36, 36]
    squared = (difference.mT @ precision @ difference).flatten()  # [N]
    return torch.where(measurable, squared.clamp(min=0).sqrt(), torch.inf)  # rounding can make zero negative
