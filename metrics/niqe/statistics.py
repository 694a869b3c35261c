"""Statistics of natural images, block by block: the 36 features of NIQE.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing Letters 2013.
Arithmetic is float64 and follows the authors' MATLAB program where the paper is silent, so that numbers are comparable.
"""

import functools
import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dnnlib.errors import UserError

NUM_FEATURES = 36
PUBLISHED_BLOCK = 96  # px; of the published pristine model
SMALLEST_BLOCK = 16  # px; at the half size, blocks have half the side

GRAY_WEIGHTS = (0.298936021293775, 0.587043074451121, 0.114020904255103)  # MATLAB's rgb2gray: Y of the inverted YIQ
WINDOW_TAPS, WINDOW_SIGMA = 7, 7 / 6  # Gaussian window of Eqs. 2 and 3
STABILITY = 1.0  # C of Eq. 1, on the 0..255 scale
ROUNDING = 1e-8  # smaller deviations and variances are rounding errors of a flat area, and so are their signs
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows, columns: horizontal, vertical, two diagonals
PIXELS_AT_ONCE = 1 << 18  # intermediate results of more pixels do not fit the cache: half the speed on a CPU
SHAPES = (0.2, 10.0, 0.001)  # first, last, step of the shapes that are tried


@torch.no_grad()
def block_features(images: Tensor, block: int = PUBLISHED_BLOCK) -> tuple[Tensor, Tensor]:
    """Return the features and the sharpness of each block of each image.

    Args:
        images: images `[N, C, H, W]`, gray or RGB, uint8 or float in 0..255. Pixels beyond whole blocks, at the right
            and at the bottom, are cut off. RGB becomes gray as by MATLAB's rgb2gray, rounded for uint8.
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
    described = [_describe(chunk, block) for chunk in chunks]
    return torch.cat([features for features, _ in described]), torch.cat([sharpness for _, sharpness in described])


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
    mean = _local_mean(luminance)
    variance = _local_mean(luminance.square()) - mean.square()
    deviation = _drop_rounding(variance).abs().sqrt()
    return _drop_rounding(luminance - mean) / (deviation + STABILITY), deviation


def halve(luminance: Tensor) -> Tensor:
    """Return `[N, H/2, W/2]` of `[N, H, W]`, resized as by MATLAB's `imresize(image, 0.5)`: antialiased bicubic.

    `torch.nn.functional.interpolate(mode="bicubic", antialias=True)` has the same kernel (a = -0.5, twice as wide).
    Its values differ only at the border, where it cuts the kernel off and MATLAB mirrors the image.
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
    has no samples, the scales are NaN and the shape is the smallest one.

    Source: Lasmar, Stitou, Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis", ICIP 2009.
    """
    left, right = _side_deviation(-samples), _side_deviation(samples)
    gamma = left / right
    ratio = samples.abs().mean(-1).square() / samples.square().mean(-1)
    ratio = ratio * (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1).square()
    alpha = _nearest_shape(ratio)
    scale = _gamma_quotient(1 / alpha, 3 / alpha).sqrt()
    return alpha, left * scale, right * scale


def _describe(images: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Return features `[N, B, 36]` and sharpness `[N, B]` of images."""
    luminance = _whole_blocks(_gray(images), block)  # [N, H, W]
    normalized, deviation = mscn(luminance)
    fine = _features(_blocks(normalized, block))  # [N, B, 18]
    sharpness = _blocks(deviation, block).mean((-2, -1))  # [N, B]
    coarse = _features(_blocks(mscn(halve(luminance))[0], block // 2))  # [N, B, 18]
    return torch.cat([fine, coarse], dim=-1), sharpness


def _features(blocks: Tensor) -> Tensor:
    """Return the 18 features `[N, B, 18]` of blocks `[N, B, S, S]` of one scale."""
    alpha, left, right = fit_aggd(blocks.flatten(-2))  # [N, B] each
    features = [alpha, (left + right) / 2]
    for shift in NEIGHBOURS:
        products = blocks * blocks.roll(shift, dims=(-2, -1))  # [N, B, S, S]
        alpha, left, right = fit_aggd(products.flatten(-2))
        mean = (right - left) * _gamma_quotient(2 / alpha, 1 / alpha)  # eta
        features += [alpha, mean, left, right]
    return torch.stack(features, dim=-1)


def _gray(images: Tensor) -> Tensor:
    """Return luminance float64 `[N, H, W]` in 0..255."""
    assert images.ndim == 4 and images.shape[1] in (1, 3), f"images of shape {list(images.shape)}"
    assert images.dtype == torch.uint8 or images.is_floating_point(), f"images of type {images.dtype}"
    planes = images.double().unbind(1)  # C times [N, H, W]
    if len(planes) == 1:
        return planes[0]
    red, green, blue = (weight * plane for weight, plane in zip(GRAY_WEIGHTS, planes, strict=True))
    luminance = red + green + blue
    return luminance.round() if images.dtype == torch.uint8 else luminance


def _whole_blocks(luminance: Tensor, block: int) -> Tensor:
    """Return `[N, H, W]` without the pixels beyond whole blocks; raise UserError where there is no block."""
    height, width = luminance.shape[-2:]
    if min(height, width) < block:
        largest = min(height, width) // 2 * 2
        cure = f"use a pristine model that was fitted with a --block of {largest} or less"
        raise UserError(
            f"images of {width}x{height} px are smaller than one block of {block}x{block} px; "
            + (cure if largest >= SMALLEST_BLOCK else f"give images of {SMALLEST_BLOCK}x{SMALLEST_BLOCK} px or more")
        )
    return luminance[..., : height // block * block, : width // block * block]


def _blocks(images: Tensor, block: int) -> Tensor:
    """Return `[N, B, block, block]` of `[N, H, W]`."""
    blocks = images.unflatten(-1, (-1, block)).unflatten(-3, (-1, block))  # [N, rows, block, columns, block]
    return blocks.transpose(-3, -2).flatten(1, 2)


def _local_mean(images: Tensor) -> Tensor:
    """Return the local mean `[N, H, W]` under the Gaussian window (Eq. 2)."""
    margin = WINDOW_TAPS // 2
    images = F.pad(images, (margin, margin, margin, margin), mode="replicate")  # [N, H + 6, W + 6]
    for dim in (-2, -1):
        images = _correlate(images, _window_taps(), dim)
    return images


def _correlate(images: Tensor, taps: list[float], dim: int, stride: int = 1) -> Tensor:
    """Filter along one axis, without padding; several times faster than a convolution of float64 on a CPU."""
    windows = images.unfold(dim, len(taps), stride)  # [..., taps], a view
    result = windows[..., 0] * taps[0]
    for k in range(1, len(taps)):
        result.add_(windows[..., k], alpha=taps[k])
    return result


def _drop_rounding(values: Tensor) -> Tensor:
    """Return the values with zero in place of rounding errors."""
    return torch.where(values.abs() < ROUNDING, 0.0, values)


def _side_deviation(samples: Tensor) -> Tensor:
    """Return the root mean square `[...]` of the positive samples of `[..., K]`; NaN where there is none."""
    return (samples.clamp(min=0).square().sum(-1) / (samples > 0).sum(-1)).sqrt()


def _nearest_shape(ratio: Tensor) -> Tensor:
    """Return the alpha whose generalised Gaussian ratio is nearest to `ratio`; the first one for NaN."""
    shapes, midpoints = (table.to(ratio.device) for table in _shape_table())
    index = torch.searchsorted(midpoints, ratio.contiguous())
    return shapes[torch.where(ratio.isnan(), 0, index)]


@functools.cache
def _shape_table() -> tuple[Tensor, Tensor]:
    """Return the shapes `[9801]`, and the boundaries `[9800]` between the ratios, which grow with the shape."""
    first, last, step = SHAPES
    shapes = first + step * torch.arange(round((last - first) / step) + 1, dtype=torch.float64)
    ratios = _gamma_quotient(2 / shapes, 1 / shapes) * _gamma_quotient(2 / shapes, 3 / shapes)
    return shapes, (ratios[1:] + ratios[:-1]) / 2


def _gamma_quotient(x: Tensor, y: Tensor) -> Tensor:
    """Return Gamma(x) / Gamma(y)."""
    return (torch.lgamma(x) - torch.lgamma(y)).exp()


@functools.cache
def _window_taps() -> list[float]:
    """Return the weights of the Gaussian window, which add up to 1."""
    middle = WINDOW_TAPS // 2
    taps = [math.exp(-0.5 * ((k - middle) / WINDOW_SIGMA) ** 2) for k in range(WINDOW_TAPS)]
    return [tap / sum(taps) for tap in taps]


@functools.cache
def _halving_taps() -> list[float]:
    """Return the 8 weights of the cubic kernel (Keys 1981, a = -0.5), stretched by two, around an output pixel."""
    taps = [_cubic(abs(k - 3.5) / 2) for k in range(8)]
    return [tap / sum(taps) for tap in taps]


def _cubic(x: float) -> float:
    """Return Keys' cubic kernel at distance `x` in 0..2."""
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
