"""Fidelity: which image counts where, and the ends of the scale."""

import math

import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import UserError
from inversion.fidelity.bands import (
    DIRECTIONS,
    band_energies,
    bands,
    detail_ratios,
    directed_bands,
    directed_energies,
    gaussian,
    sigmas,
)
from inversion.fidelity.blend import blend
from inversion.fidelity.damage import noise_power
from inversion.inverter import InversionOptions
from tests.inversion.fidelity.images import SIDE, cats, compressed, error, natural, noise
from tests.support.tolerance import assert_close


@pytest.fixture(name="sharp")
def _sharp():
    return natural()


@pytest.mark.parametrize("fidelity", [0, 1, 0.0, 1.0])
def test_the_ends_are_the_networks_image_and_the_photo(sharp, fidelity):
    photo, restored = sharp, sharp + noise(0.1)
    assert torch.equal(blend(photo, restored, fidelity), photo if fidelity else restored)


def test_more_fidelity_comes_nearer_to_the_photo(sharp):
    """Continuously, from one end to the other."""
    photo, restored = gaussian(sharp, 2.0), sharp + 0.2 + noise(0.05)
    errors = [error(blend(photo, restored, f / 20), photo) for f in range(21)]
    assert errors == sorted(errors, reverse=True) and errors[-1] == 0
    assert max(a - b for a, b in zip(errors, errors[1:], strict=False)) < 0.25 * errors[0]


@pytest.mark.parametrize("side", [16, 24, 64, 100])
def test_bands_add_up_to_the_image(side):
    images = torch.randn(2, 3, side, side)
    parts = list(bands(images))
    assert len(parts) == len(sigmas(side)) + 1
    assert_close(sum(parts), images)
    powers = [part.diff(dim=3).square().mean() / part.square().mean() for part in parts]
    assert powers == sorted(powers, reverse=True), "finest first"


@pytest.mark.parametrize("side", [16, 25, 64])
def test_parts_of_bands_add_up_to_them_and_have_their_direction(side):
    images = torch.randn(2, 3, side, side)
    for band, parts in zip(bands(images), directed_bands(images), strict=True):
        assert_close(sum(parts), band)
    *finer, coarsest = directed_energies(images)
    assert len(coarsest) == 1 and all(len(parts) == DIRECTIONS for parts in finer)
    places = torch.arange(side, dtype=torch.float32)
    stripes = (2 * math.pi * 4 / 16 * places).cos().expand(1, 1, side, side)  # change to the right alone
    for image, strongest in {stripes: 0, stripes.mT: 2}.items():
        powers = [part.square().mean().item() for part in next(directed_bands(image))]
        assert powers[strongest] > 0.8 * sum(powers)


@pytest.mark.parametrize(("side", "expected"), [(4, [1]), (16, [1]), (64, [1, 2, 4]), (256, [1, 2, 4, 8, 16])])
def test_larger_images_have_more_bands(side, expected):
    assert sigmas(side) == expected


def test_a_sharp_photo_that_the_network_misses_stays_as_it_is(sharp):
    """Although the network's image is as sharp."""
    missed = sharp.flip(3)
    assert error(blend(sharp, missed, 0.5), sharp) < 0.01 * error(missed, sharp)


@pytest.mark.parametrize("contrast", [0.92, 0.97])
def test_a_photo_that_is_only_smoother_than_the_networks_image_stays_as_it_is(sharp, contrast):
    """A degradation that leaves most of the finest band leaves the coarser ones whole."""
    photo = contrast * sharp
    assert_close(blend(photo, sharp, 0.5), photo, rtol=1e-3)


def test_a_blurred_photo_gets_the_networks_detail(sharp):
    photo = gaussian(sharp, 3.0)
    assert error(blend(photo, sharp, 0.5), sharp) < 0.3 * error(photo, sharp)


def test_motion_takes_detail_of_its_own_direction_alone(sharp):
    """What it left along the other direction is the photo's, and not the network's."""
    kernel = torch.full([1, 1, 1, 9], 1 / 9)
    photo = F.conv2d(F.pad(sharp.flatten(0, 1)[:, None], (4, 4, 0, 0), mode="replicate"), kernel).view_as(sharp)
    other = sharp.flip(3)
    added = (blend(photo, other, 0.5) - photo)[..., 8:-8, 8:-8]
    across, along = (added.diff(dim=dim).square().mean() for dim in (3, 2))
    assert across > 2 * along
    assert error(blend(photo, sharp, 0.5), sharp) < 0.5 * error(photo, sharp)


@pytest.mark.parametrize(("sigma", "share"), [(0.8, 0.8), (1.5, 1.1), (3.0, 1.3)])
def test_another_image_of_the_network_costs_little(sharp, sigma, share):
    """Only its powers count where the photo tells: light blur is undone, and strong blur gets no other cat."""
    photo, other = gaussian(sharp, sigma), sharp.flip(3)
    left = error(blend(photo, other, 0.5), sharp)
    assert left < share * error(photo, sharp) and left < 0.2 * error(other, sharp)


def test_a_blurred_photo_keeps_its_colours_where_the_network_has_others(sharp):
    """The coarse part comes from the photo, the fine one from the network."""
    shifted = sharp + 0.4
    photo = gaussian(sharp, 2.0)
    mixed = blend(photo, shifted, 0.5)
    assert (mixed - sharp).mean().abs() < 0.1 * 0.4
    assert error(mixed, sharp) < 0.4 * min(error(photo, sharp), error(shifted, sharp))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.1, 0.3])
def test_noise_of_the_photo_is_told_by_its_quiet_places(sharp, channels, strength):
    """Detail and blur are no noise."""
    sharp = sharp[:, :channels]
    photo = sharp + noise(strength)[:, :channels]
    found = noise_power(photo, sharp)
    assert (found > 0.6 * strength**2).all() and (found < 1.2 * strength**2).all()
    assert noise_power(sharp, sharp).max() == 0 and noise_power(gaussian(sharp, 2.0), sharp).max() == 0


@pytest.mark.parametrize("quality", [5, 15, 40, 75])
def test_jpeg_gives_way_to_what_the_network_knows(quality):
    """All that was rounded away comes back, and the colours are the photo's where the network has others."""
    sharp = cats()
    photo = compressed(sharp, quality)
    assert error(blend(photo, sharp, 0.5), sharp) < 0.1 * error(photo, sharp)
    shifted = sharp + 0.4
    assert error(blend(photo, shifted, 0.5), sharp) < 0.15 * min(error(photo, sharp), error(shifted, sharp))


@pytest.mark.parametrize("quality", [5, 40, 75])
def test_a_jpeg_photo_that_the_network_misses_loses_little(quality):
    sharp = cats()
    photo = compressed(sharp, quality)
    assert error(blend(photo, sharp.flip(0), 0.5), sharp) < 1.35 * error(photo, sharp)


def test_a_compressed_photo_changes_nothing_beside_it():
    """Of two photos of a batch one is JPEG's, and the other is restored as it is alone."""
    sharp = cats()
    mixed = torch.cat([compressed(sharp[:1], 30), gaussian(sharp[1:], 2.0)])
    known = sharp + noise(0.1)
    assert_close(blend(mixed, known, 0.5)[0], blend(mixed[:1], known[:1], 0.5)[0])
    assert_close(blend(mixed, known, 0.5)[1], blend(mixed[1:], known[1:], 0.5)[0])


def test_noise_does_not_come_back_from_the_photo(sharp):
    photo = sharp + noise(0.3, seed=3)
    assert error(blend(photo, sharp, 0.5), sharp) < 0.005 * error(photo, sharp)


@pytest.mark.parametrize(("strength", "least", "most"), [(0.3, 0, 0.8), (0.02, 0.9, 1.02)])
def test_strong_grain_is_minded_beyond_its_power_and_light_grain_is_not(sharp, monkeypatch, strength, least, most):
    """Where the network's image shows something else, grain comes back with what the photo tells."""
    grain, other = noise(strength, seed=3), sharp.flip(3)

    def left():
        return (grain * blend(sharp + grain, other, 0.5)).mean()

    minded = left()
    monkeypatch.setattr("inversion.fidelity.blend.GRAIN", 0)
    assert least < minded / left() < most


def test_a_noisy_photo_keeps_what_the_network_misses(sharp):
    photo, shifted = sharp + noise(0.2, seed=3), sharp.clone()
    shifted[..., SIDE // 2 :] += 0.6
    mixed = blend(photo, shifted, 0.5)
    assert error(mixed, sharp) < 0.4 * min(error(photo, sharp), error(shifted, sharp))


def test_detail_that_the_networks_image_is_known_to_lack_shows_blur(sharp):
    """The network's image is as smooth as the blurred photo, which then is not taken for sharp."""
    photo = gaussian(sharp, 0.7)
    lack = detail_ratios(sharp, photo).mean(0).tolist()
    plain, aware = (blend(photo, photo.flip(3), 0.5, detail) for detail in (None, lack))
    assert error(aware, sharp) < 0.8 * error(plain, sharp)


def test_band_energies_are_those_of_white_noise():
    """Away from the border, where edges repeat."""
    white = torch.randn(100, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    for energy, band in zip(band_energies(white), bands(white), strict=True):
        assert_close(torch.tensor(energy), band[..., 30:-30, 30:-30].square().mean(), rtol=0.1)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_fidelity_is_from_0_to_1(value):
    with pytest.raises(UserError, match="--fidelity is .*, must be from 0"):
        InversionOptions(fidelity=value)
