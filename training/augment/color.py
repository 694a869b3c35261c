"""Colour transformations: one affine map of each pixel's colour."""

import math

import torch
from torch import Tensor

from dnnlib.errors import UserError
from training.augment.config import AugmentPipeConfig
from training.augment.draws import Draws, where_active


def augment_color(images: Tensor, draws: Draws, config: AugmentPipeConfig) -> Tensor:
    """Change brightness, contrast, luma, hue and saturation of `images [N, C, H, W]`, C = 1 or 3.

    With v the luma axis (1, 1, 1) / sqrt(3), brightness moves along v, and all that follows it in the paper's order is
    a gain along v and a rotation with a gain in the plane across v. Gray images have no such plane, so hue and
    saturation pass them by. Raises UserError for another number of channels.
    """
    if not any((config.brightness, config.contrast, config.lumaflip, config.hue, config.saturation)):
        return images
    channels = images.shape[1]
    if channels not in (1, 3):
        raise UserError(f"images have {channels} channels, colour augmentation needs 1 or 3; choose the pipe bg")
    brightness, luma_gain, chroma_gain = _gains(draws, config)
    if channels == 1:
        matrix = luma_gain.view(-1, 1, 1)
    else:
        matrix = color_matrix(luma_gain, *_chroma(draws, config, chroma_gain))
    return where_active(draws.active, recolor, images, matrix, luma_gain * brightness)


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


def _gains(draws: Draws, config: AugmentPipeConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Brightness, gain along the luma axis, gain across it, [N] each."""
    one = torch.ones_like(draws.like[:, 0, 0, 0])
    brightness, contrast, sign = torch.zeros_like(one), one, one
    if config.brightness > 0:
        brightness = draws.gated(config.brightness * draws.p, draws.normal() * config.brightness_std, 0)
    if config.contrast > 0:
        contrast = draws.gated(config.contrast * draws.p, (draws.normal() * config.contrast_std).exp2(), 1)
    if config.lumaflip > 0:
        sign = draws.gated(config.lumaflip * draws.p, 1 - 2 * draws.uniform().mul(2).floor(), 1)
    return brightness, contrast * sign, contrast


def _chroma(draws: Draws, config: AugmentPipeConfig, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and rotation across the luma axis, [N] each."""
    hue = torch.zeros_like(gain)
    if config.hue > 0:
        hue = draws.gated(config.hue * draws.p, (draws.uniform() * 2 - 1) * (math.pi * config.hue_max), 0)
    if config.saturation > 0:
        gain = gain * draws.gated(config.saturation * draws.p, (draws.normal() * config.saturation_std).exp2(), 1)
    return gain, hue
