"""Fidelity: a restored image keeps what its photo tells, and takes from the network what the degradation took away.

In each band of frequencies, and each direction in it, a photo is taken for `gain * sharp + noise`. The gain, at most 1,
follows from powers: a sharp photo would have as much in the band as the network's sharp image, which is of the same
kind though not of the same place. The noise is what `inversion.fidelity.damage` finds in the photo. Then the sharp
photo of least expected square error is the network's image plus a Wiener filter of what the photo has beyond its
`gain`-fold. Strong noise counts more than that error says (`GRAIN`), and what is left of lost detail is amplified less
(`LEAST_GAIN`), as it looks better. So a blurred photo keeps its colours and gets detail, a noisy one gets what drowns,
and one that is hardly degraded, or that shows what the network does not know, stays nearly as it is.

Before that, JPEG is undone where its traces say how the photo was compressed (`inversion.fidelity.decompression`);
`gain * sharp` is what is expected there.

Powers are means around each pixel and over the image, since a network knows faces better than what is behind them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inversion.fidelity.bands import SMALLEST, directed_bands, directed_energies, local_power
from inversion.fidelity.compression import find_compression
from inversion.fidelity.damage import noise_power
from inversion.fidelity.decompression import decompress

LEAST_GAIN = 0.8  # what the photo tells is amplified by at most the inverse; the network has better detail than that
GRAIN = 0.6  # weight of strong white noise on top of its power: the eye minds grain more than detail that errs as much
VISIBLE = (8 / 127.5) ** 2  # power of white noise, 8 grey levels, that has half of this weight
# Mean gain of the finest band in a direction: a photo below has lost detail there, one above is only a smooth one.
BLURRED, WHOLE = 0.7, 0.9


def blend(photo: Tensor, restored: Tensor, fidelity: float, detail: Sequence[float] | None = None) -> Tensor:
    """Return restored images mixed with their photos.

    Args:
        photo: photos `[N, C, R, R]` in [-1, 1].
        restored: the network's sharp images of them, `G(w, 0)`.
        fidelity: 0 gives `restored`, 1 gives `photo`, both exactly; 0.5 the filter as it is.
        detail: power of sharp photos over that of the network's images of them in each band, finest first, where the
            latter are known to be smoother; None: 1.

    Returns: images of the same shape, unclamped.
    """
    assert 0 <= fidelity <= 1, f"fidelity {fidelity} is not in [0, 1]"
    if fidelity in (0, 1):
        return photo if fidelity else restored
    told = restored + _told(_decompressed(photo, restored, detail), restored, min(2 * fidelity, 1.0), detail)
    return torch.lerp(told, photo, max(2 * fidelity - 1, 0.0))


class _Part(NamedTuple):
    """A direction of a band: what photo and network's image have of it, and what the degradation did to it.

    Attributes:
        seen: the photo's, `[N, C, R, R]`.
        known: the network's.
        gain: how much of it the degradation left, `[N, 1, R, R]` from 0 to 1.
        grain: power of the white noise that it added, `[N, 1, 1, 1]`.
    """

    seen: Tensor
    known: Tensor
    gain: Tensor
    grain: Tensor


def _decompressed(photo: Tensor, restored: Tensor, detail: Sequence[float] | None) -> Tensor:
    """Return photos as they most likely were before JPEG; bit for bit as they are where there was none."""
    compressions = [find_compression(each) for each in photo]
    if not any(compressions):
        return photo
    parts = _parts(photo, restored, noise_power(photo, restored), detail)
    expected = torch.stack([part.gain * part.known for part in parts]).sum(0)  # [N, C, R, R]
    rows = zip(photo.split(1), expected.split(1), compressions, strict=True)
    return torch.cat([one if found is None else decompress(one, likely, found) for one, likely, found in rows])


def _told(photo: Tensor, restored: Tensor, trust: float, detail: Sequence[float] | None) -> Tensor:
    """Return what photos tell beyond their restored images; `trust` in (0, 1] is 1 for the Wiener filter itself."""
    white = noise_power(photo, restored)
    minded = (GRAIN * white / (white + VISIBLE))[:, None, None, None]
    beyond = torch.zeros_like(photo)
    for seen, known, gain, grain in _parts(photo, restored, white, detail):
        beyond = beyond + _filtered(seen - gain * known, gain, (1 + minded) * grain, trust)
    return beyond


def _parts(photo: Tensor, restored: Tensor, white: Tensor, detail: Sequence[float] | None) -> Iterator[_Part]:
    """Yield the parts of photos that have white noise of these powers, `[N]`; the finest band first."""
    energies = directed_energies(photo)
    ratios = [1.0] * len(energies) if detail is None else detail
    lost: list[Tensor] = []  # how far a photo counts as blurred in each direction, [N, 1, 1, 1]
    for index, bands in enumerate(zip(directed_bands(photo), directed_bands(restored), strict=True)):
        for direction, (seen, known) in enumerate(zip(*bands, strict=True)):
            grain = energies[index][direction] * white[:, None, None, None]
            gain = _gain(seen, ratios[index] * local_power(known), grain)
            if index == 0:
                lost.append(_lost(gain))
            is_coarsest = index == len(energies) - 1
            gain = torch.ones_like(gain) if is_coarsest else 1 - lost[direction] * (1 - gain)  # colours stay
            yield _Part(seen, known, gain, grain)


def _lost(finest_gain: Tensor) -> Tensor:
    """Return how far photos count as blurred, `[N, 1, 1, 1]` from 0 to 1, from the gain of a part of their finest band.

    Blur and shrinking take the finest band first; one that is there with most of its power was not taken.
    """
    return ((WHOLE - finest_gain.mean((1, 2, 3), keepdim=True)) / (WHOLE - BLURRED)).clamp(0, 1)


def _gain(seen: Tensor, sharp_power: Tensor, noise: Tensor) -> Tensor:
    """Return how much the degradation left of a band of the photo, `[N, 1, R, R]`."""
    return ((local_power(seen) - noise).clamp(min=0) / sharp_power.clamp(min=SMALLEST)).sqrt().clamp(max=1)


def _filtered(missed: Tensor, gain: Tensor, noise: Tensor, trust: float) -> Tensor:
    """Return what a band of the photo tells beyond the network's image."""
    signal = (local_power(missed) - noise).clamp(min=0)
    share = trust**2 * signal / (trust * signal + (2 - trust) * noise).clamp(min=SMALLEST)
    return share * missed / gain.clamp(min=LEAST_GAIN)
