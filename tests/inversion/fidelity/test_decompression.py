"""JPEG undone: nothing contradicts what was stored, and what is expected counts as far as it is right."""

import pytest
import scipy.stats
import torch

from images.colour import to_planes
from inversion.fidelity import decompression
from inversion.fidelity.bands import gaussian
from inversion.fidelity.compression import find_compression
from inversion.fidelity.decompression import FARTHEST, decompress, mean_within, truncated_mean
from inversion.fidelity.jpeg_blocks import cosines, decoded
from tests.inversion.fidelity.images import cats, compressed, error, noise


@pytest.fixture(name="sharp")
def _sharp():
    return cats()[:1]


def undone(photo, expected):
    return decompress(photo, expected, find_compression(photo[0]))


@pytest.mark.parametrize("distance", [0, 3, 8, 11.9, 12.1, 300])
def test_means_are_those_of_truncated_normal_distributions(distance):
    """On both sides, also far outside of the interval, where only its end is left."""
    signs = torch.tensor([-1.0, 1.0])
    deviation = torch.tensor([0.2, 1.0, 30.0])[:, None]
    centre = 7 + signs * (1 + distance * deviation)  # so many deviations from the end of an interval of 7 +- 1
    found = truncated_mean(centre, deviation, torch.tensor(6.0), torch.tensor(8.0))
    bounds = [((end - centre) / deviation).double().numpy() for end in (6, 8)]
    known = scipy.stats.truncnorm.mean(*bounds, loc=centre.double().numpy(), scale=deviation.double().numpy())
    far = (7 + signs).expand(3, 2)
    expected = torch.from_numpy(known).float() if distance < FARTHEST else far
    assert (found - expected).abs().max() < 1e-2


@pytest.mark.parametrize(("share", "least", "most"), [(1, 0.95, 1.05), (0.8, 0.6, 0.8), (0, -0.01, 0.1)])
def test_what_was_rounded_to_zero_is_believed_as_far_as_the_rest_is_right(share, least, most):
    """The half of the frequencies that tells has errors of the rest's power, and of the other half nothing is left."""
    cosines_before = 20 * torch.randn(1, 9, 9, 8, 8, generator=torch.Generator().manual_seed(0))
    others = 20 * torch.randn(1, 9, 9, 8, 8, generator=torch.Generator().manual_seed(1))
    steps = torch.full([8, 8], 2.0)
    steps[4:] = 1000.0
    expected = share * cosines_before + (1 - share**2) ** 0.5 * others
    found = mean_within(cosines_before, expected, steps)[..., 4:, :]
    assert least <= (found * expected[..., 4:, :]).mean() / expected[..., 4:, :].square().mean() <= most


def test_an_expectation_far_from_what_was_stored_ends_at_the_intervals_end():
    stored, steps = torch.zeros(1, 1, 2, 8, 8), torch.full([8, 8], 2.0)
    expected = torch.stack([torch.zeros(8, 8), torch.full([8, 8], 1e6)])[None, None]
    found = mean_within(stored, expected, steps)
    assert torch.isfinite(found).all() and found.abs().max() <= 1


@pytest.mark.parametrize("quality", [5, 20, 40, 75])
@pytest.mark.parametrize("expected", ["sharp", "noisy", "other", "blurred"])
def test_nothing_contradicts_what_was_stored(sharp, quality, expected):
    known = {"sharp": sharp, "noisy": sharp + noise(0.2)[:1], "other": cats()[1:], "blurred": gaussian(sharp, 2.0)}
    photo = compressed(sharp, quality)
    code = find_compression(photo[0])
    before = decompress(photo, known[expected], code)
    for seen, found, plane in zip(to_planes(photo)[0], to_planes(before)[0], code.planes, strict=True):
        stored, now = (cosines(decoded(each[None], plane.sampling)) / plane.steps for each in (seen, found))
        if plane.sampling == (1, 1):
            assert (now - stored.round()).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("quality", [5, 20, 40, 75])
def test_a_network_that_knows_the_photo_gives_all_of_it_back(sharp, quality):
    photo = compressed(sharp, quality)
    assert error(undone(photo, sharp), sharp) < 0.1 * error(photo, sharp)


@pytest.mark.parametrize("quality", [5, 20, 40, 75])
def test_a_network_that_shows_something_else_costs_little(sharp, quality):
    photo = compressed(sharp, quality)
    before = undone(photo, cats()[1:])
    assert error(before, sharp) < 1.1 * error(photo, sharp)


def test_the_better_the_network_the_nearer_is_the_result(sharp):
    photo = compressed(sharp, 30)
    errors = [error(undone(photo, sharp + noise(strength)[:1]), sharp) for strength in (0, 0.03, 0.1, 0.3)]
    assert errors == sorted(errors)


def test_gray_photos_stay_gray(sharp):
    photo = compressed(sharp[:, :1], 30)
    one = decompress(photo, sharp[:, :1], find_compression(photo[0]))
    three = undone(photo.expand(-1, 3, -1, -1), sharp)
    assert (three.amax(1) - three.amin(1)).max() < 1e-3 and one.shape == photo.shape
    assert error(one, sharp[:, :1]) < 0.1 * error(photo, sharp[:, :1])


def test_steps_between_blocks_tell_colours_that_the_network_misses(sharp, monkeypatch):
    """By more than without looking at them, where the network's image is another colour in all of it."""
    photo = compressed(sharp, 8)
    expected = (sharp + 0.1).clamp(-1, 1)
    found = error(undone(photo, expected), sharp)
    monkeypatch.setattr(decompression, "with_smooth_error", lambda expected, *others: expected)
    assert found < 0.8 * error(undone(photo, expected), sharp)


def test_what_is_expected_errs_by_more_where_blocks_are_farther_off():
    """Three times as far off in the right half: there the deviation is as much larger, and equal inside of a half."""
    torch.manual_seed(0)
    steps = torch.full([8, 8], 2.0)
    distances = 20 * torch.randn(1, 12, 12, 8, 8).sign()
    distances[:, :, 6:] *= 3
    found = decompression._deviation(distances, steps)
    assert found.shape == distances.shape
    near, far = found[:, :, :5], found[:, :, 7:]
    assert far.mean() / near.mean() == pytest.approx(3, rel=0.05)
    assert near.std() < 0.01 * near.mean() and far.std() < 0.01 * far.mean()
