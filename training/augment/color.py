"""Colour transformations: one affine map of each pixel's colour."""

import math

import torch
from torch import Tensor

from dnnlib.errors import UserError
from training.augment.config import AugmentPipeConfig
from training.augment.draws import Draws, where_active

_PARAMETERS = ("brightness", "contrast", "lumaflip", "hue", "saturation")


def augment_color(images: Tensor, draws: Draws, config: AugmentPipeConfig) -> Tensor:
    """Change brightness, contrast, luma, hue and saturation of `images [N, C, H, W]`, C = 1 or 3.

    With v the luma axis (1, 1, 1) / sqrt(3), brightness moves along v, and all that follows it in the paper's order is
    a gain along v and a rotation with a gain in the plane across v. Gray images have no such plane, so hue and
    saturation pass them by. Raises UserError for another number of channels.
    """
    if not any(getattr(config, name) for name in _PARAMETERS):
        return images
    channels = images.shape[1]
    if channels not in (1, 3):
        raise UserError(f"images have {channels} channels, colour augmentation needs 1 or 3; choose the pipe bg")
    contrast, saturation = draws.some(["contrast", "saturation"]).exp2().unbind(1)  # [N] each
    luma_gain = contrast * (1 - 2 * draws["lumaflip"])
    if channels == 1:
        matrix = luma_gain.view(-1, 1, 1)
    else:
        matrix = color_matrix(luma_gain, contrast * saturation, draws["hue"] * math.pi)
    return where_active(draws.active(_PARAMETERS), recolor, images, matrix, luma_gain * draws["brightness"])


def color_matrix(luma_gain: Tensor, chroma_gain: Tensor, hue: Tensor) -> Tensor:
    """Return `[N, 3, 3]` maps of RGB: a gain along the luma axis, a gain and a rotation by `hue` (radians) across."""
    eye = torch.eye(3, dtype=hue.dtype, device=hue.device)
    along = torch.full_like(eye, 1 / 3)  # v v^T
    cross = (eye.roll(1, 0) - eye.roll(-1, 0)) / math.sqrt(3)  # x -> v x x
    luma_gain, chroma_gain, hue = (values.view(-1, 1, 1) for values in (luma_gain, chroma_gain, hue))
    return luma_gain * along + chroma_gain * (hue.cos() * (eye - along) + hue.sin() * cross)


def recolor(images: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Return `matrix [N, C, C] @ color + offset [N]` for each pixel of `images [N, C, H, W]`."""
    return torch.baddbmm(offset.view(-1, 1, 1), matrix, images.flatten(2)).view_as(images)
