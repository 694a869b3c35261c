"""Fidelity: which image counts where, and the ends of the scale."""

import pytest
import torch

from dnnlib.errors import UserError
from inversion.fidelity import BANDS, band_energies, bands, blend, gaussian, noise_power
from inversion.inverter import InversionOptions
from tests.support.tolerance import assert_close

SIDE = 64


@pytest.fixture(name="sharp")
def _sharp():
    """Images of 1/f spectrum, [2, 3, 64, 64]."""
    noise = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    return sum(gaussian(noise, 2.0**scale) * 2.0**scale for scale in range(4)) / 8


def noise(strength, seed=0):
    return strength * torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def error(image, other):
    return (image - other).square().mean().item()


@pytest.mark.parametrize(("fidelity", "share"), [(0, 0.0), (1, 1.0), (0.0, 0.0), (1.0, 1.0)])
def test_the_ends_are_the_networks_image_and_the_photo(sharp, fidelity, share):
    photo, restored = sharp, sharp + noise(0.1)
    mixed, shares = blend(photo, restored, restored + 0.1, restored, fidelity)
    assert torch.equal(mixed, photo if fidelity else restored)
    assert shares.tolist() == [share, share]


def test_more_fidelity_keeps_more_of_the_photo(sharp):
    photo, restored = gaussian(sharp, 2.0), sharp + noise(0.05)
    results = [blend(photo, restored, gaussian(restored, 2.0), gaussian(restored, 2.0), f / 4) for f in range(5)]
    shares = [result[1].mean().item() for result in results]
    errors = [error(result[0], photo) for result in results]
    assert shares == sorted(shares) and len(set(shares)) == 5
    assert errors == sorted(errors, reverse=True)


def test_bands_add_up_to_the_image(sharp):
    parts = list(bands(sharp))
    assert len(parts) == len(BANDS) + 1
    assert_close(sum(parts), sharp)
    powers = [part.diff(dim=3).square().mean() / part.square().mean() for part in parts]
    assert powers == sorted(powers, reverse=True), "finest first"


def test_an_undamaged_photo_that_the_network_misses_stays_as_it_is(sharp):
    """Its q explains nothing: G(w, q) is G(w, 0), and neither is the photo."""
    missed = noise(0.5, seed=1)
    mixed, share = blend(sharp, missed, missed, missed, 0.5)
    assert_close(mixed, sharp)
    assert_close(share, torch.ones(2))


def test_a_blurred_photo_that_the_network_explains_gets_the_networks_detail(sharp):
    photo = gaussian(sharp, 3.0)
    mixed, share = blend(photo, sharp, photo, photo, 0.5)
    assert_close(mixed, sharp)
    assert share.max() == 0


def test_a_blurred_photo_keeps_its_colours_where_the_network_has_others(sharp):
    """The coarse part comes from the photo, the fine one from the network."""
    shifted = sharp + 0.4
    photo = gaussian(sharp, 2.0)
    mixed, _ = blend(photo, shifted, gaussian(shifted, 2.0), gaussian(shifted, 2.0), 0.5)
    assert (mixed - sharp).mean().abs() < 0.1 * 0.4
    assert error(mixed, sharp) < 0.3 * min(error(photo, sharp), error(shifted, sharp))


def test_noise_is_no_missed_content(sharp):
    """The photo has another draw of the noise than the reconstruction; without `quiet` that would count as missed."""
    photo, reconstruction = sharp + noise(0.2, seed=3), sharp + noise(0.2, seed=4)
    aware, naive = (blend(photo, sharp, reconstruction, quiet, 0.5)[0] for quiet in (sharp, reconstruction))
    assert error(aware, sharp) < 0.1 * error(photo, sharp) < error(naive, sharp)


def test_noise_of_the_photo_is_told_by_the_photo(sharp):
    """Also where the network draws none; coloured detail and blur are no noise."""
    photo = sharp.mean(1, keepdim=True) + noise(0.2, seed=3)
    restored = sharp.mean(1, keepdim=True).expand_as(photo)
    assert_close(noise_power(photo, restored), torch.full([2], 0.04), rtol=0.1)
    assert noise_power(restored, restored).max() == 0 and noise_power(gaussian(restored, 2.0), restored).max() == 0
    assert noise_power(photo[:, :1], restored[:, :1]).max() == 0
    mixed, _ = blend(photo, restored, restored, restored, 0.5)
    assert error(mixed, restored) < 0.1 * error(photo, restored)


def test_band_energies_are_those_of_white_noise():
    white = torch.randn(4, 1, 256, 256)
    for energy, band in zip(band_energies(white), bands(white), strict=True):
        assert_close(torch.tensor(energy), band.square().mean(), rtol=0.1)


def test_where_the_network_misses_the_photo_counts_and_elsewhere_it_does_not(sharp):
    """Half of the picture is content that the network does not know; the degradation is everywhere."""
    restored = sharp.clone()
    restored[..., SIDE // 2 :] = noise(0.4, seed=5)[..., SIDE // 2 :]
    photo, reconstruction = gaussian(sharp, 1.0), gaussian(restored, 1.0)
    mixed, _ = blend(photo, restored, reconstruction, reconstruction, 0.5)
    known, unknown = slice(0, SIDE // 4), slice(3 * SIDE // 4, SIDE)
    assert error(mixed[..., known], sharp[..., known]) < 0.01 * error(photo[..., known], sharp[..., known])
    coarse = [gaussian(images, 4.0)[..., unknown] for images in (mixed, restored, sharp)]
    assert error(coarse[0], coarse[2]) < 0.1 * error(coarse[1], coarse[2])


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_fidelity_is_from_0_to_1(value):
    with pytest.raises(UserError, match="--fidelity is .*, must be from 0"):
        InversionOptions(fidelity=value)
