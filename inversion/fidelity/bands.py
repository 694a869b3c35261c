"""Bands of frequencies of images, their parts by direction, and their powers."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

FINEST = 1.0  # sigma in pixels of the Gaussian that parts the finest band from the next; each next one has twice it
COARSEST = 1 / 16  # share of the image's side up to which the sigmas go
WINDOW = 5.0  # sigma in pixels of the Gaussian that averages powers around a pixel
OVERALL = 1 / 3  # weight of the whole image's power in the local one
DIRECTIONS = 4  # parts of a band: across, along, and both diagonals
SMALLEST = 1e-8  # power that counts as none; one grey level squared is 6e-5


def sigmas(side: int) -> list[float]:
    """Return the sigmas of the Gaussians between the bands of images of this side, in pixels, finest first."""
    count = 1 + max(0, math.floor(math.log2(side * COARSEST / FINEST)))
    return [FINEST * 2**index for index in range(count)]


def bands(images: Tensor) -> Iterator[Tensor]:
    """Yield the bands of images `[N, C, R, R]`, finest first; their sum are the images."""
    for sigma in sigmas(images.shape[-1]):
        coarser = gaussian(images, sigma)
        yield images - coarser
        images = coarser
    yield images


def directed_bands(images: Tensor) -> Iterator[list[Tensor]]:
    """Yield the parts of each band of images `[N, C, R, R]` by direction, finest first; the coarsest has one part.

    The sum of all parts are the images. Motion blurs one direction alone, and contours are of one direction each.
    """
    masks = _direction_masks(images)
    *finer, coarsest = bands(images)
    for band in finer:
        spectrum = torch.fft.rfft2(band)
        yield [torch.fft.irfft2(spectrum * mask, s=band.shape[-2:]) for mask in masks]
    yield [coarsest]


def band_energies(images: Tensor) -> list[float]:
    """Return which share of the power of white noise each of the bands of such images has."""
    return [band.square().sum().item() for band in bands(_impulse(images))]


def directed_energies(images: Tensor) -> list[list[float]]:
    """Return which share of the power of white noise each part of `directed_bands` of such images has."""
    return [[part.square().sum().item() for part in parts] for parts in directed_bands(_impulse(images))]


def local_power(images: Tensor, overall: float = OVERALL) -> Tensor:
    """Return the mean square over channels, around each pixel and in part over the image, `[N, 1, R, R]`."""
    power = images.square().mean(1, keepdim=True)
    return torch.lerp(gaussian(power, WINDOW), power.mean((2, 3), keepdim=True), overall)


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Return images `[N, C, R, R]` filtered by a Gaussian of `sigma` pixels; beyond the border the edge repeats."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    taps = torch.exp(-0.5 * (offsets / sigma).square())
    taps = taps / taps.sum()
    planes = F.pad(images.flatten(0, 1)[:, None], (radius,) * 4, mode="replicate")  # [N * C, 1, R + 2 r, R + 2 r]
    return F.conv2d(F.conv2d(planes, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1)).view_as(images)


def detail_ratios(sharp: Tensor, restored: Tensor) -> Tensor:
    """Return the power of sharp photos `[N, C, R, R]` over that of restored ones in each band, `[N, bands]`."""
    powers = [
        torch.stack([band.square().mean((1, 2, 3)).clamp(min=SMALLEST) for band in bands(images)], dim=1)
        for images in (sharp, restored)
    ]
    return powers[0] / powers[1]


def _impulse(images: Tensor) -> Tensor:
    """Return an image of one channel and of the same side whose power is 1 at every frequency."""
    size = images.shape[-1]
    impulse = images.new_zeros(1, 1, size, size)
    impulse[..., size // 2, size // 2] = 1
    return impulse


def _direction_masks(images: Tensor) -> Tensor:
    """Return for each direction the weights of the frequencies of real images, `[directions, R, R // 2 + 1]`.

    They are cosines squared of the angle, twice as wide as the distance of two directions, and add up to 1.
    """
    side, device = images.shape[-1], images.device
    down, right = torch.fft.fftfreq(side, device=device)[:, None], torch.fft.rfftfreq(side, device=device)
    directions = torch.arange(DIRECTIONS, device=device)[:, None, None] * (math.pi / DIRECTIONS)
    apart = (torch.atan2(down, right) - directions + math.pi / 2) % math.pi - math.pi / 2  # in [-pi / 2, pi / 2)
    masks = (apart * (DIRECTIONS / 2)).cos().square() * (apart.abs() < math.pi / DIRECTIONS)
    masks[:, 0, 0] = 1 / DIRECTIONS
    return masks
