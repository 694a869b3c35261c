"""Traces of degradations: what they tell, and what they do not depend on."""

import numpy as np
import pytest
import torch

from degradations.primitive import apply_primitive
from images.ranges import from_levels
from inversion.quality.traces import traces
from tests.support.tolerance import assert_close

ROUGH = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).cumsum(1).cumsum(2)  # power falls as in photos
PHOTOS = np.clip(128 + 40 * (ROUGH - ROUGH.mean((1, 2), keepdims=True)) / ROUGH.std((1, 2), keepdims=True), 0, 255)


def images_of(degradation="", **parameters):
    """Return four images `[4, 3, 64, 64]` in [-1, 1], degraded by a primitive."""
    photos = [photo.astype(np.uint8) for photo in PHOTOS]
    if degradation:
        rng = np.random.default_rng(1)
        photos = [apply_primitive(photo, degradation, rng, **parameters)[0] for photo in photos]
    return from_levels(torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("name", "weak", "strong"),
    [
        ("gaussian_blur", {"size": 3.0, "sigma": 0.6}, {"size": 7.0, "sigma": 1.5}),
        ("gaussian_noise", {"variance": 30.0}, {"variance": 600.0}),
        ("jpeg", {"quality": 40}, {"quality": 10}),
    ],
)
def test_stronger_degradations_lie_farther_from_sharp_whatever_the_image(name, weak, strong):
    sharp, little, much = (traces(images_of(*args[:1], **args[1])) for args in (("", {}), (name, weak), (name, strong)))
    for image in range(4):
        others = [other for other in range(4) if other != image]
        assert ((much[image] - sharp[others]).norm(dim=1) > (little[image] - sharp[others]).norm(dim=1)).all()
        assert ((much[image] - much[others]).norm(dim=1) < (much[image] - sharp[others]).norm(dim=1)).all()


def test_they_hear_neither_brightness_nor_mirroring():
    images = images_of() / 2
    assert_close(traces(images + 0.25), traces(images), rtol=1e-3)
    assert_close(traces(images.transpose(2, 3))[:, -2:], traces(images)[:, -2:], rtol=1e-4)


@pytest.mark.parametrize("side", [8, 16, 40])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_are_finite_for_every_size_even_of_flat_images(side, channels):
    images = torch.cat([torch.zeros(1, channels, side, side), torch.randn(1, channels, side, side)]).requires_grad_()
    (gradient,) = torch.autograd.grad(traces(images).sum(), images)
    assert torch.isfinite(gradient).all() and (gradient[1] != 0).any()
