"""Fidelity: a restored image is mixed with its photo, as far as the network explains the photo.

The network says what the degradation has changed, `D = G(w, q) - G(w, 0)`, and the photo says what the network has
missed, `E = photo - G(w, q)`. Where a photo is hardly degraded, or its content is none that the network can make, E is
large beside D, and the photo is the better image; where it is badly degraded, the restored one is. Both are compared
in each band of frequencies, since a blurred photo has right colours and wrong details, and around each pixel, since a
network knows faces better than what is behind them. With the powers of D and E, the share of the photo is that of a
Wiener filter, which has the least mean square error where the errors of both images are independent.

Noise is a part of D, though no reconstruction has the photo's own draw of it. Its power is the network's, or what the
photo itself tells, whichever is more: noise of a sensor differs from red to green, detail hardly does.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = (1.0, 2.0, 4.0)  # sigmas in pixels of the Gaussians between bands, finest first
WINDOW = 4.0  # sigma in pixels of the Gaussian over which powers are averaged
SMALLEST = 1e-8  # power that counts as none; one grey level squared is 6e-5


def blend(
    photo: Tensor, restored: Tensor, reconstruction: Tensor, quiet: Tensor, fidelity: float
) -> tuple[Tensor, Tensor]:
    """Return restored images mixed with their photos, and the mean share of the photo in each.

    Args:
        photo: photos `[N, C, R, R]` in [-1, 1].
        restored: `G(w, 0)`.
        reconstruction: `G(w, q)`.
        quiet: `G(w, q)` without noise of the DegradBlocks.
        fidelity: 0 gives `restored`, 1 gives `photo`, both exactly; 0.5 weighs the two powers alike.

    Returns: images `[N, C, R, R]`, and shares `[N]` from 0 to 1.
    """
    assert 0 <= fidelity <= 1, f"fidelity {fidelity} is not in [0, 1]"
    if fidelity in (0, 1):
        share = photo.new_full([len(photo)], float(fidelity))
        return (photo if fidelity else restored), share
    white = noise_power(photo, restored)[:, None, None, None]  # [N, 1, 1, 1]
    mixed = restored
    shares = []
    signals = (photo - restored, quiet - restored, photo - quiet, reconstruction - quiet)
    for energy, way, changed, missed, own in zip(
        band_energies(photo), *(bands(signal) for signal in signals), strict=True
    ):
        noise = torch.maximum(local_power(own), energy * white)  # [N, 1, R, R]
        for_photo = fidelity * (local_power(missed) - noise).clamp(min=0)
        share = for_photo / (for_photo + (1 - fidelity) * (local_power(changed) + noise)).clamp(min=SMALLEST)
        mixed = mixed + share * way
        shares.append(share.mean((1, 2, 3)))
    return mixed, torch.stack(shares).mean(0)


def noise_power(photo: Tensor, restored: Tensor) -> Tensor:
    """Return the power `[N]` of white noise that photos `[N, C, R, R]` have beyond restored ones; 0 for gray ones.

    It is told by the finest differences of neighbouring channels, in which detail of an image nearly cancels.
    """
    if photo.shape[1] == 1:
        return photo.new_zeros([len(photo)])
    powers = []
    for images in (photo, restored):
        differences = images.diff(dim=1)  # [N, C - 1, R, R]
        finest = differences.diff(dim=2).diff(dim=3)  # white noise has 2 * 2 * 2 times its power here
        powers.append(finest.square().mean((1, 2, 3)) / 8)
    return (powers[0] - powers[1]).clamp(min=0)


def band_energies(images: Tensor) -> list[float]:
    """Return which share of the power of white noise each of the bands of such images has."""
    side = 1 + 2 * sum(math.ceil(3 * sigma) for sigma in BANDS)
    impulse = images.new_zeros(1, 1, side, side)
    impulse[..., side // 2, side // 2] = 1
    return [band.square().sum().item() for band in bands(impulse)]


def bands(images: Tensor) -> Iterator[Tensor]:
    """Yield the bands of images `[N, C, R, R]`, finest first; their sum are the images."""
    for sigma in BANDS:
        coarser = gaussian(images, sigma)
        yield images - coarser
        images = coarser
    yield images


def local_power(images: Tensor) -> Tensor:
    """Return the mean square over channels and the window around each pixel, `[N, 1, R, R]`."""
    return gaussian(images.square().mean(1, keepdim=True), WINDOW)


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Return images `[N, C, R, R]` filtered by a Gaussian of `sigma` pixels; beyond the border the edge repeats."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    taps = torch.exp(-0.5 * (offsets / sigma).square())
    taps = taps / taps.sum()
    planes = F.pad(images.flatten(0, 1)[:, None], (radius,) * 4, mode="replicate")  # [N * C, 1, R + 2 r, R + 2 r]
    return F.conv2d(F.conv2d(planes, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1)).view_as(images)
