"""Steps between blocks tell a network's error, since that is smooth."""

import pytest
import torch

from inversion.fidelity.jpeg_blocks import cosines, of_cosines
from inversion.fidelity.smooth_error import _divergence, _gradient, with_smooth_error
from tests.inversion.fidelity.images import cats

STEPS = torch.full([8, 8], 40.0)


def interval(plane):
    """Return the middle, and both ends, of where the cosines of a plane `[1, H, W]` were before rounding to STEPS."""
    middle = (cosines(plane) / STEPS).round() * STEPS
    return middle, middle - STEPS / 2, middle + STEPS / 2


@pytest.fixture(name="plane")
def _plane():
    return 100 * cats()[:1, 0]


def steps_at_borders(plane):
    """Return the mean square of the steps from a block to the next, beyond that of steps within blocks."""
    steps = plane.diff(dim=2).square().mean((0, 1))
    is_border = torch.arange(1, plane.shape[2]) % 8 == 0
    return (steps[is_border].mean() - steps[~is_border].mean()).item()


def test_the_divergence_is_minus_the_adjoint_of_the_gradient():
    torch.manual_seed(0)
    plane, slopes = torch.randn(1, 16, 24), torch.randn(2, 1, 16, 24)
    assert torch.allclose((_gradient(plane) * slopes).sum(), -(plane * _divergence(slopes)).sum(), atol=1e-4)


def test_what_is_expected_rightly_stays(plane):
    _, low, high = interval(plane)
    assert (with_smooth_error(plane, plane, low, high, STEPS) - plane).abs().max() < 1e-3


def test_an_error_that_is_even_over_blocks_is_found(plane):
    """Colours are off by nearly a multiple of a block's mean; steps between blocks tell by how much."""
    middle, low, high = interval(plane)
    expected = plane + 0.9 * STEPS[0, 0] / 8
    start = of_cosines(cosines(expected).clamp(low, high))
    found = with_smooth_error(expected, start, low, high, STEPS)
    for worse in (start, of_cosines(middle)):
        assert (found - expected).std() < 0.7 * (worse - expected).std()
    assert (cosines(found) - middle).abs().max() <= STEPS.max() / 2 + 1e-3


def test_steps_between_blocks_become_smaller():
    """Of a slope that was rounded to even blocks, where nothing is expected."""
    plane = torch.linspace(0, 40, 64).expand(1, 64, 64).contiguous()
    middle, low, high = interval(plane)
    blocks = of_cosines(middle)
    found = with_smooth_error(torch.zeros_like(plane), blocks, low, high, STEPS)
    assert 0 < steps_at_borders(found) < 0.5 * steps_at_borders(blocks)
    assert (found - plane).square().mean() < 0.75 * (blocks - plane).square().mean()


def test_larger_steps_take_as_many_rounds(plane):
    """Twice the contrast at twice the steps gives twice the image."""
    _, low, high = interval(plane)
    start = plane.clamp(-30, 30)
    found = with_smooth_error(plane, start, low, high, STEPS)
    twice = with_smooth_error(2 * plane, 2 * start, 2 * low, 2 * high, 2 * STEPS)
    assert torch.allclose(twice, 2 * found, atol=1e-2)
