"""Statistics of natural images, block by block: the 36 features of NIQE.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing Letters 2013.
Arithmetic is float64 and follows the authors' MATLAB program where the paper is silent: numbers are compared with its.
"""

import functools
import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dnnlib.errors import UserError

NUM_FEATURES = 36
PUBLISHED_BLOCK = 96  # px; of the published pristine model
SMALLEST_BLOCK = 16  # px; blocks of scale 2 have half of it

GRAY_WEIGHTS = (0.298936021293775, 0.587043074451121, 0.114020904255103)  # MATLAB's rgb2gray: Y of the inverted YIQ
WINDOW_TAPS, WINDOW_SIGMA = 7, 7 / 6  # of the Gaussian window, Eqs. 2 and 3
STABILITY = 1.0  # C of Eq. 1, on the 0..255 scale
ROUNDING = 1e-8  # smaller deviations and variances are those of a flat area; its sign would be one of rounding
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows, columns: horizontal, vertical, two diagonals
PIXELS_AT_ONCE = 1 << 18  # what is made of more of them at a time outgrows the cache: half the speed on a CPU
SHAPES = (0.2, 10.0, 0.001)  # first, last, step of the shapes that are tried


@torch.no_grad()
def block_features(images: Tensor, block: int = PUBLISHED_BLOCK) -> tuple[Tensor, Tensor]:
    """Return what describes each block of each image, and how sharp the block is.

    Args:
        images: `[N, C, H, W]`, gray or RGB, uint8 or float in 0..255. What exceeds whole blocks is cut off at the right
            and at the bottom. RGB becomes gray as by MATLAB's rgb2gray, rounded for uint8.
        block: side of a block in pixels, even and at least 16.

    Returns:
        features: float64 `[N, B, 36]`, blocks row by row; 18 of the full size, then 18 of the half size: shape and
            scale of the normalised luminance, then shape, mean, left and right scale of each of the products of
            neighbours. NaN where a block is too flat to have them.
        sharpness: float64 `[N, B]`, the mean local deviation (Eq. 3) at full size.

    Raises UserError for a block that does not fit the rule above, or is larger than the images.
    """
    check_block(block)
    chunks = images.split(max(PIXELS_AT_ONCE // math.prod(images.shape[-2:]), 1))
    features, sharpness = zip(*(_describe(chunk, block) for chunk in chunks), strict=True)
    return torch.cat(features), torch.cat(sharpness)


def check_block(block: int) -> None:
    """Raise UserError unless blocks of this side, in pixels, can be described."""
    if block < SMALLEST_BLOCK or block % 2:
        raise UserError(
            f"blocks of {block} px cannot be used; --block is an even number of {SMALLEST_BLOCK} px or more, "
            f"and {PUBLISHED_BLOCK} in the published model"
        )


def mscn(luminance: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean subtracted, contrast normalised luminance (Eq. 1) and the local deviation (Eq. 3), all `[N, H, W]`.

    The window is Gaussian; edge pixels are repeated beyond the border.
    """
    mean = _windowed(luminance)
    variance = _windowed(luminance.square()) - mean.square()
    deviation = _without_rounding(variance).abs().sqrt()
    return _without_rounding(luminance - mean) / (deviation + STABILITY), deviation


def halve(luminance: Tensor) -> Tensor:
    """Return `[N, H/2, W/2]` of `[N, H, W]`, as MATLAB's `imresize(image, 0.5)` does it: antialiased bicubic.

    `torch.nn.functional.interpolate(mode="bicubic", antialias=True)` has the same kernel (a = -0.5, twice as wide),
    and the same values but at the border, where it cuts the kernel off and MATLAB mirrors the image.
    """
    for dim in (-2, -1):
        size = luminance.shape[dim]
        assert size % 2 == 0, f"side {size} is odd"
        index = torch.arange(-3, size + 3, device=luminance.device)
        index = torch.where(index < 0, -1 - index, index)
        index = torch.where(index >= size, 2 * size - 1 - index, index)
        luminance = _correlate(luminance.index_select(dim, index), _halving_taps(), dim, stride=2)
    return luminance


def fit_aggd(samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit asymmetric generalised Gaussians to float64 `[..., K]` by matching moments.

    Returns: the shape alpha, and the scales beta of the left and of the right side, each `[...]`. Where either side
    has no sample, the scales are NaN and the shape is the smallest one.

    Source: Lasmar, Stitou, Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis", ICIP 2009.
    """
    left, right = _side_deviation(-samples), _side_deviation(samples)
    gamma = left / right
    ratio = samples.abs().mean(-1).square() / samples.square().mean(-1)
    ratio = ratio * (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1).square()
    alpha = _nearest_shape(ratio)
    scale = _gamma_quotient(1 / alpha, 3 / alpha).sqrt()
    return alpha, left * scale, right * scale


def _describe(images, block):
    luminance = _whole_blocks(_gray(images), block)
    normalized, deviation = mscn(luminance)
    fine = _features(_blocks(normalized, block))
    sharpness = _blocks(deviation, block).mean((-2, -1))
    coarse = _features(_blocks(mscn(halve(luminance))[0], block // 2))
    return torch.cat([fine, coarse], dim=-1), sharpness


def _features(blocks):
    """Return the 18 features `[N, B, 18]` of blocks `[N, B, S, S]` of one scale."""
    alpha, left, right = fit_aggd(blocks.flatten(-2))
    features = [alpha, (left + right) / 2]
    for shift in NEIGHBOURS:
        products = blocks * blocks.roll(shift, dims=(-2, -1))
        alpha, left, right = fit_aggd(products.flatten(-2))
        mean = (right - left) * _gamma_quotient(2 / alpha, 1 / alpha)  # eta
        features += [alpha, mean, left, right]
    return torch.stack(features, dim=-1)


def _gray(images):
    """Return luminance float64 `[N, H, W]` in 0..255."""
    assert images.ndim == 4 and images.shape[1] in (1, 3), f"images of shape {list(images.shape)}"
    assert images.dtype == torch.uint8 or images.is_floating_point(), f"images of type {images.dtype}"
    planes = images.double().unbind(1)
    if len(planes) == 1:
        return planes[0]
    luminance = sum(weight * plane for weight, plane in zip(GRAY_WEIGHTS, planes, strict=True))
    return luminance.round() if images.dtype == torch.uint8 else luminance


def _whole_blocks(luminance, block):
    height, width = luminance.shape[-2:]
    if min(height, width) < block:
        largest = min(height, width) // 2 * 2
        cure = f"use a pristine model that was fitted with a --block of {largest} or less"
        raise UserError(
            f"images of {width}x{height} px are smaller than one block of {block}x{block} px; "
            + (cure if largest >= SMALLEST_BLOCK else f"give images of {SMALLEST_BLOCK}x{SMALLEST_BLOCK} px or more")
        )
    return luminance[..., : height // block * block, : width // block * block]


def _blocks(image, block):
    """Return `[N, B, block, block]` of `[N, H, W]`."""
    blocks = image.unflatten(-1, (-1, block)).unflatten(-3, (-1, block))  # [N, rows, block, columns, block]
    return blocks.transpose(-3, -2).flatten(1, 2)


def _windowed(image):
    """Return the local mean `[N, H, W]` under the Gaussian window (Eq. 2)."""
    margin = WINDOW_TAPS // 2
    image = F.pad(image, (margin, margin, margin, margin), mode="replicate")
    for dim in (-2, -1):
        image = _correlate(image, _window_taps(), dim)
    return image


def _correlate(image, taps, dim, stride=1):
    """Filter along one axis, without padding; several times faster than a convolution of float64 on a CPU."""
    windows = image.unfold(dim, len(taps), stride)  # [..., taps], a view
    result = windows[..., 0] * taps[0]
    for k in range(1, len(taps)):
        result.add_(windows[..., k], alpha=taps[k])
    return result


def _without_rounding(values):
    return torch.where(values.abs() < ROUNDING, 0.0, values)


def _side_deviation(samples):
    """Return the root of the mean square `[...]` of the positive ones of `[..., K]`; NaN where there is none."""
    return (samples.clamp(min=0).square().sum(-1) / (samples > 0).sum(-1)).sqrt()


def _nearest_shape(ratio):
    """Return the alpha whose generalised Gaussian ratio is nearest to `ratio`; the first one for NaN."""
    shapes, midpoints = (table.to(ratio.device) for table in _shape_table())
    index = torch.searchsorted(midpoints, ratio.contiguous())
    return shapes[torch.where(ratio.isnan(), 0, index)]


@functools.cache
def _shape_table():
    """Return the shapes `[9801]`, and the boundaries `[9800]` between the ratios, which grow with the shape."""
    first, last, step = SHAPES
    shapes = first + step * torch.arange(round((last - first) / step) + 1, dtype=torch.float64)
    ratios = _gamma_quotient(2 / shapes, 1 / shapes) * _gamma_quotient(2 / shapes, 3 / shapes)
    return shapes, (ratios[1:] + ratios[:-1]) / 2


def _gamma_quotient(x, y):
    """Return Gamma(x) / Gamma(y)."""
    return (torch.lgamma(x) - torch.lgamma(y)).exp()


@functools.cache
def _window_taps():
    middle = WINDOW_TAPS // 2
    taps = [math.exp(-0.5 * ((k - middle) / WINDOW_SIGMA) ** 2) for k in range(WINDOW_TAPS)]
    return [tap / sum(taps) for tap in taps]


@functools.cache
def _halving_taps():
    """Return the 8 weights of the cubic kernel (Keys 1981, a = -0.5), stretched by two, around an output pixel."""
    taps = [_cubic(abs(k - 3.5) / 2) for k in range(8)]
    return [tap / sum(taps) for tap in taps]


def _cubic(x):
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
