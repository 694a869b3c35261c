"""Fidelity: a restored image keeps what its photo tells, and takes from the network what the degradation took away.

In each band of frequencies a photo is taken for `gain * sharp + noise`. The gain, at most 1, follows from powers: a
sharp photo would have as much in the band as the network's sharp image, which is of the same kind though not of the
same place. The noise is what the quietest places of the photo have and those of the network's image have not. Then the
sharp photo of least expected square error is the network's image plus a Wiener filter of what the photo has beyond its
`gain`-fold. So a blurred photo keeps its colours and gets detail, a noisy one gets what drowns, and one that is hardly
degraded, or that shows what the network does not know, stays nearly as it is.

Powers are means around each pixel and over the image, since a network knows faces better than what is behind them.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FINEST = 1.0  # sigma in pixels of the Gaussian that parts the finest band from the next; each next one has twice it
COARSEST = 1 / 16  # share of the image's side up to which the sigmas go
WINDOW = 5.0  # sigma in pixels of the Gaussian that averages powers around a pixel
OVERALL = 1 / 3  # weight of the whole image's power in the local one
LEAST_GAIN = 0.5  # what the photo tells is amplified by at most the inverse
QUIET = 0.15  # share of the places that are the quietest ones
QUIET_POWER = 0.85  # power of white noise in the places of that rank, over its mean power
SMALLEST = 1e-8  # power that counts as none; one grey level squared is 6e-5


def blend(photo: Tensor, restored: Tensor, fidelity: float, detail: Sequence[float] | None = None) -> Tensor:
    """Return restored images mixed with their photos.

    Args:
        photo: photos `[N, C, R, R]` in [-1, 1].
        restored: the network's sharp images of them, `G(w, 0)`.
        fidelity: 0 gives `restored`, 1 gives `photo`, both exactly; 0.5 the least expected square error.
        detail: power of sharp photos over that of the network's images of them in each band, finest first, where the
            latter are known to be smoother; None: 1.

    Returns: images of the same shape, unclamped.
    """
    assert 0 <= fidelity <= 1, f"fidelity {fidelity} is not in [0, 1]"
    if fidelity in (0, 1):
        return photo if fidelity else restored
    told = restored + _told(photo, restored, min(2 * fidelity, 1.0), detail)
    return torch.lerp(told, photo, max(2 * fidelity - 1, 0.0))


def _told(photo: Tensor, restored: Tensor, trust: float, detail: Sequence[float] | None) -> Tensor:
    """Return what photos tell beyond their restored images; `trust` in (0, 1] is 1 for the Wiener filter itself."""
    white = noise_power(photo, restored)[:, None, None, None]  # [N, 1, 1, 1]
    energies = band_energies(photo)
    detail = [1.0] * len(energies) if detail is None else detail
    beyond = torch.zeros_like(photo)
    pairs = zip(bands(photo), bands(restored), strict=True)
    for index, (seen, known) in enumerate(pairs):
        noise = energies[index] * white
        seen_power = (local_power(seen) - noise).clamp(min=SMALLEST)
        known_power = detail[index] * local_power(known).clamp(min=SMALLEST)
        is_coarsest = index == len(energies) - 1  # no degradation changes colours
        gain = torch.ones_like(seen_power) if is_coarsest else (seen_power / known_power).sqrt().clamp(max=1)
        missed = seen - gain * known
        signal = (local_power(missed) - noise).clamp(min=0)
        share = trust**2 * signal / (trust * signal + (2 - trust) * noise).clamp(min=SMALLEST)
        beyond = beyond + share / gain.clamp(min=LEAST_GAIN) * missed
    return beyond


def noise_power(photo: Tensor, restored: Tensor) -> Tensor:
    """Return the power `[N]` of white noise that photos `[N, C, R, R]` have beyond restored ones."""
    finest, energy = next(bands(photo)), band_energies(photo)[0]
    quiet = [local_power(band, overall=0).flatten(1).quantile(QUIET, dim=1) for band in (finest, next(bands(restored)))]
    return (quiet[0] - quiet[1]).clamp(min=0) / (energy * QUIET_POWER)


def detail_ratios(sharp: Tensor, restored: Tensor) -> Tensor:
    """Return the power of sharp photos `[N, C, R, R]` over that of restored ones in each band, `[N, bands]`."""
    powers = [
        torch.stack([band.square().mean((1, 2, 3)).clamp(min=SMALLEST) for band in bands(images)], dim=1)
        for images in (sharp, restored)
    ]
    return powers[0] / powers[1]


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


def band_energies(images: Tensor) -> list[float]:
    """Return which share of the power of white noise each of the bands of such images has."""
    size = images.shape[-1]
    impulse = images.new_zeros(1, 1, size, size)
    impulse[..., size // 2, size // 2] = 1
    return [band.square().sum().item() for band in bands(impulse)]


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
