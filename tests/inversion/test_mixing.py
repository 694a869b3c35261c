"""Mixing: style of one image and space of another, and what lies between two."""

import dataclasses

import pytest
import torch

from dnnlib.errors import UserError
from generation.rendering import synthesize
from inversion.mixing import between, mean_codes, mix, with_padding, with_space_of
from networks.latents import Features, Latents
from tests.support.codes import full_codes, same_bits
from tests.support.networks import quality_generator, small_generator
from tests.support.tolerance import assert_close

PARTS = [("padding",), ("features",), ("padding", "features")]


@pytest.fixture(scope="module", name="G")
def _generator():
    return quality_generator(resolution=32).requires_grad_(False)


def test_the_networks_own_padding_changes_no_image(G):
    latents = full_codes(G, parts=())
    whole = with_padding(G, latents, G.code_shapes())
    assert {name for name in whole.tensors() if "padding" in name} == {n for n in G.code_shapes() if "padding" in n}
    assert_close(synthesize(G, whole), synthesize(G, latents), rtol=1e-5)
    assert with_padding(G, whole, G.code_shapes()) is whole


@pytest.mark.parametrize("parts", PARTS)
def test_space_is_given_without_changing_the_image(G, parts):
    latents = full_codes(G, parts=())
    given = with_space_of(G, latents, full_codes(G, parts=parts))
    assert given.tensors().keys() == full_codes(G, parts=parts).tensors().keys()
    assert_close(synthesize(G, given), synthesize(G, latents), rtol=1e-5)


@pytest.mark.parametrize("parts", PARTS)
def test_style_of_one_and_space_of_the_other(G, parts):
    style, content = full_codes(G, parts=parts), full_codes(G, parts=parts, seed=1)
    assert same_bits(mix(style, content, range(G.num_ws)), dataclasses.replace(content, ws=style.ws))
    fine = mix(style, content, range(4, G.num_ws))
    assert torch.equal(fine.ws[:, :4], content.ws[:, :4]) and torch.equal(fine.ws[:, 4:], style.ws[:, 4:])
    assert same_bits(mix(style, content, []), content)


@pytest.mark.parametrize("parts", PARTS)
def test_parts_go_from_one_image_to_the_other(G, parts):
    start, end = full_codes(G, parts=parts), full_codes(G, parts=parts, seed=1)
    for part, ends in {
        "style": dataclasses.replace(start, ws=end.ws),
        "space": dataclasses.replace(end, ws=start.ws, q=start.q),
        "both": dataclasses.replace(end, q=start.q),
    }.items():
        assert same_bits(between(G, start, end, part, 0.0), start)
        assert same_bits(between(G, start, end, part, 1.0), ends)
        middle = between(G, start, end, part, 0.25)
        for name, value in middle.tensors().items():
            assert_close(value, start.tensors()[name].lerp(ends.tensors()[name], 0.25))


def test_from_the_mean_the_learned_constant_and_zeros_become_the_encoders(G):
    codes = full_codes(G, 1, parts=("padding",))
    halfway = between(G, mean_codes(G), codes, "space", 0.5)
    assert_close(halfway.ws, G.mapping.w_avg.expand(1, G.num_ws, -1))
    assert_close(halfway.padding.const, (G.synthesis.block(0).const + codes.padding.const) / 2)
    assert_close(halfway.padding.rings["b8.conv1"], codes.padding.rings["b8.conv1"] / 2)
    assert halfway.q is None
    mean = synthesize(G, mean_codes(G))
    assert_close(synthesize(G, between(G, mean_codes(G), codes, "space", 0.0)), mean, rtol=1e-5)


def test_from_the_mean_its_features_become_the_encoders(G):
    codes = full_codes(G, 1, parts=("features",))
    at = {share: between(G, mean_codes(G), codes, "space", share) for share in (0.0, 1.0)}
    assert_close(synthesize(G, at[0.0]), synthesize(G, mean_codes(G)), rtol=1e-5)
    assert torch.equal(at[1.0].features.values, codes.features.values)


def test_plain_networks_mix_too():
    G = small_generator(32).eval()
    start, end = (full_codes(G, seed=seed) for seed in range(2))
    assert between(G, start, end, "both", 0.5).q is None
    assert torch.equal(mix(start, end, range(G.num_ws)).ws, start.ws)


def test_what_cannot_be_mixed_is_a_sentence(G):
    bare = full_codes(G, parts=())
    with pytest.raises(UserError, match=r"^these codes have neither paddings nor features, so that only their style"):
        between(G, bare, bare, "space", 0.5)
    odd = full_codes(G, parts=("features",))
    even = Latents(odd.ws, q=odd.q, features=Features(full_codes(G, layer=2).features.values, 2))
    with pytest.raises(UserError, match=r"features of layer 3, those of the other of layer 2; find both with the same"):
        between(G, odd, even, "both", 0.5)
