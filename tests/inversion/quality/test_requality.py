"""Degradations that are sampled, copied and interpolated, for content that stays."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from generation.quality_codes import parse_qualities
from generation.rendering import synthesize
from inversion.quality.requality import copy_quality, interpolate_quality, sample_quality, scale_quality
from networks.latents import Latents
from tests.support.codes import full_codes, same_bits
from tests.support.networks import quality_generator, small_generator
from tests.support.tolerance import assert_close


@pytest.fixture(scope="module", name="G")
def generator():
    return quality_generator()


def latents_of(count, q_dim=4):
    return Latents(torch.randn(count, 6, 16), q=None if q_dim is None else torch.randn(count, q_dim))


def test_a_seed_is_the_degradation_of_the_generator(G):
    latents = latents_of(2, q_dim=None)
    [quality] = parse_qualities(["seed:5"], [0, 1], G.q_dim)
    found = sample_quality(G, latents, [5])
    assert found.ws is latents.ws
    assert_close(found.q, torch.tensor(quality.codes.copy()))


def test_each_image_has_its_own_seed(G):
    together = sample_quality(G, latents_of(3), [7, 8, 7])
    assert torch.equal(together.q[0], together.q[2]) and not torch.equal(together.q[0], together.q[1])
    assert torch.equal(together.q[1], sample_quality(G, latents_of(1), [8]).q[0])


def test_seeds_are_standard_normal(G):
    codes = sample_quality(G, Latents(torch.zeros(2000, 1, 16)), range(2000)).q
    assert codes.mean(0).abs().max() < 0.1
    assert (torch.cov(codes.T) - torch.eye(G.q_dim)).abs().max() < 0.15


def test_copying_takes_the_quality_and_leaves_the_content(G):
    latents, one, all_ = latents_of(3), latents_of(1), latents_of(3)
    found = copy_quality(latents, one)
    assert found.ws is latents.ws
    assert torch.equal(found.q, one.q.expand(3, -1)) and torch.equal(copy_quality(latents, all_).q, all_.q)
    assert torch.equal(synthesize(G, copy_quality(latents, latents)), synthesize(G, latents))


def test_copying_from_a_sharp_photo_restores(G):
    latents, sharp = latents_of(2), latents_of(1, q_dim=None)
    assert copy_quality(latents, sharp).q is None
    assert torch.equal(synthesize(G, copy_quality(latents, sharp)), synthesize(G, latents.sharp()))


@given(st.floats(0, 1))
@settings(max_examples=30)
def test_interpolation_is_linear_in_q(alpha):
    latents, a, b = latents_of(2), latents_of(1), latents_of(2)
    found = interpolate_quality(latents, a, b, alpha)
    assert found.ws is latents.ws
    assert_close(found.q, (1 - alpha) * a.q + alpha * b.q)
    assert_close(found.q, interpolate_quality(latents, b, a, 1 - alpha).q)


def test_interpolation_ends_at_its_ends_bit_for_bit():
    latents, a, b = latents_of(2), latents_of(2), latents_of(1)
    assert torch.equal(interpolate_quality(latents, a, b, 0.0).q, a.q)
    assert torch.equal(interpolate_quality(latents, a, b, 1.0).q, b.q.expand(2, -1))
    assert torch.equal(interpolate_quality(latents, a, b, torch.tensor([1.0, 0.0])).q, torch.stack([b.q[0], a.q[1]]))


def test_interpolation_from_and_to_sharp():
    latents, sharp, b = latents_of(2), latents_of(1, q_dim=None), latents_of(1)
    assert_close(interpolate_quality(latents, sharp, b, 0.25).q, 0.25 * b.q.expand(2, -1))
    assert_close(interpolate_quality(latents, b, sharp, 0.25).q, 0.75 * b.q.expand(2, -1))
    assert interpolate_quality(latents, sharp, sharp, 0.5).q is None


def test_strength_scales_the_code(G):
    latents = latents_of(2)
    assert_close(scale_quality(latents, 0.5).q, latents.q / 2)
    assert_close(sample_quality(G, latents, [3], strength=2.0).q, 2 * sample_quality(G, latents, [3]).q)
    assert_close(copy_quality(latents, latents, strength=-1.0).q, -latents.q)
    assert torch.equal(synthesize(G, scale_quality(latents, 0.0)), synthesize(G, latents.sharp()))
    assert scale_quality(latents.sharp(), 3.0).q is None


THREE = latents_of(3)
REFUSALS = [
    (
        "^this network is plain, without quality codes to sample; give a QC network",
        lambda G: sample_quality(small_generator(), THREE, [1]),
    ),
    ("^2 degradations do not fit 3 images; give 1 or 3", lambda G: sample_quality(G, THREE, [1, 2])),
    ("^2 degradations do not fit 3 images", lambda G: copy_quality(THREE, latents_of(2))),
    ("^alpha is -0.1, must be from 0", lambda G: interpolate_quality(THREE, latents_of(1), latents_of(1), -0.1)),
    ("^alpha is 1.5, must be from 0", lambda G: interpolate_quality(THREE, latents_of(1), latents_of(1), 1.5)),
    ("^alpha is nan, must be from 0", lambda G: interpolate_quality(THREE, latents_of(1), latents_of(1), math.nan)),
    ("^the strength of the degradation is nan, must be finite", lambda G: scale_quality(THREE, math.nan)),
    (
        "^the quality codes have 4 and 8 numbers; take both from photos",
        lambda G: copy_quality(THREE, latents_of(1, 8)),
    ),
    (
        "^the quality codes have 4 and 8 numbers; take both from photos",
        lambda G: interpolate_quality(THREE.sharp(), latents_of(1), latents_of(1, 8), 0.5),
    ),
]


@pytest.mark.parametrize(("sentence", "call"), REFUSALS)
def test_refusals(G, sentence, call):
    with pytest.raises(UserError, match=sentence):
        call(G)


def test_another_quality_keeps_paddings_and_features():
    G = quality_generator(resolution=32)
    latents, other = full_codes(G), full_codes(G, 1, parts=(), seed=1)
    for found in (
        sample_quality(G, latents, [5], 0.5),
        copy_quality(latents, other, 0.5),
        copy_quality(latents, other.sharp()),
        interpolate_quality(latents, latents, other, 0.5),
        scale_quality(latents, 0.5),
    ):
        assert same_bits(replace(found, q=None), latents.sharp())
