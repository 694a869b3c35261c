"""Similarity of two images pixel by pixel: PSNR and SSIM."""

import torch
from torch import Tensor

from dnnlib.errors import UserError

PEAK = 255.0
WINDOW_SIZE, WINDOW_SIGMA = 11, 1.5  # px
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2  # K1 and K2 of Wang et al. 2004


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair of images, in dB.

    Args:
        a: images `[N, C, H, W]`, uint8 or float in 0..255.
        b: images of the same shape.

    Returns: float `[N]`; infinite where the images are equal, with gradients that are NaN.

    Raises UserError for images of different shapes.
    """
    _check_shapes(a, b, smallest=1)
    error = (a.double() - b.double()).square().mean(dim=(1, 2, 3))
    return (10 * torch.log10(PEAK**2 / error)).to(_result_type(a, b))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity of each pair of images (Wang et al. 2004), at most 1.

    Windows of 11x11 px, Gaussian with sigma 1.5, lie wholly within the image; moments are those of a population; the
    mean is taken over positions and channels. Gradients are finite everywhere, for equal images too.

    Args:
        a: images `[N, C, H, W]`, uint8 or float in 0..255, H and W at least 11.
        b: images of the same shape.

    Returns: float `[N]`.

    Raises UserError for smaller images and for images of different shapes.
    """
    _check_shapes(a, b, smallest=WINDOW_SIZE)
    x, y = a.double(), b.double()  # E[x^2] - E[x]^2 of flat regions would cancel in float32
    mu_x, mu_y = _window_mean(x), _window_mean(y)  # [N, C, H - 10, W - 10]
    variances = _window_mean(x * x + y * y) - mu_x * mu_x - mu_y * mu_y  # sigma_x^2 + sigma_y^2
    covariance = _window_mean(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + C1) / (mu_x * mu_x + mu_y * mu_y + C1)
    structure = (2 * covariance + C2) / (variances + C2)
    return (luminance * structure).mean(dim=(1, 2, 3)).to(_result_type(a, b))


def _window_mean(images: Tensor) -> Tensor:
    """Return Gaussian means `[N, C, H - 10, W - 10]` of float64 images, one axis after the other."""
    offsets = torch.arange(WINDOW_SIZE, dtype=torch.float64) - WINDOW_SIZE // 2
    taps = torch.exp(-offsets.square() / (2 * WINDOW_SIGMA**2))  # [WINDOW_SIZE]
    for dim in (2, 3):
        positions = images.shape[dim] - WINDOW_SIZE + 1
        weighted = (weight * images.narrow(dim, i, positions) for i, weight in enumerate((taps / taps.sum()).tolist()))
        images = sum(weighted)
    return images


def _check_shapes(a: Tensor, b: Tensor, smallest: int) -> None:
    if a.shape != b.shape:
        raise UserError(f"images of shapes {list(a.shape)} and {list(b.shape)} have no similarity; bring both to one")
    assert a.ndim == 4, f"images of shape {list(a.shape)} are not [N, C, H, W]"
    height, width = a.shape[2:]
    if min(height, width) < smallest:
        raise UserError(f"images of {width}x{height} px are too small, {smallest} px is the least; use larger ones")


def _result_type(a: Tensor, b: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
