"""How much two images show the same content, whatever their detail."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 8  # px, side of the cells whose means represent the content
BLUR = 1 / 16  # standard deviation of the blur behind which degradations are alike, as a part of the image's side


def content_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation of coarse gray images, pair by pair, `[N]`, of images `[N, C, H, W]` of any range."""
    a, b = (F.avg_pool2d(images.float().mean(1, keepdim=True), CELL).flatten(1) for images in (a, b))
    return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))


def strongly_blurred(images: Tensor) -> Tensor:
    """Return uint8 images `[N, C, H, W]` behind a Gaussian stronger than any degradation of training."""
    sigma = images.shape[3] * BLUR
    pixels = images.permute(0, 2, 3, 1).cpu().numpy()
    blurred = [cv2.GaussianBlur(image, (0, 0), sigma).reshape(image.shape) for image in pixels]
    return torch.from_numpy(np.stack(blurred)).permute(0, 3, 1, 2)
