"""Replayed passes of a generator: the bits are the network's own, whatever is asked of them."""

import dataclasses
import gc
import weakref
from functools import partial

import pytest
import torch

from generation.rendering import render
from networks.frozen import FrozenSynthesis
from networks.latents import Features, Latents, Padding
from tests.support.networks import VARIANTS, quality_generator, small_generator
from torch_utils.replay import Replayed


def draw(G, rows=1):
    return Latents(torch.randn(rows, G.num_ws, G.w_dim), q=torch.randn(rows, G.q_dim) if G.q_dim else None)


def assert_same_images(G, frozen, latents):
    expected, actual = (render(G, latents, [latents.q, None], frozen=way) for way in (None, frozen))
    assert all(map(torch.equal, actual, expected))


@pytest.mark.parametrize("make", [small_generator, *(partial(quality_generator, variant) for variant in VARIANTS)])
@torch.no_grad()
def test_images_keep_their_bits(make):
    """When they are computed, recorded and replayed, in turns for one and for two images, and without noise."""
    G = make()
    frozen = FrozenSynthesis(G, calls_before=1)
    for _ in range(3):
        for rows in (1, 2):
            assert_same_images(G, frozen, draw(G, rows))
    none = G.synthesis.make_noise("none", 1)
    for _ in range(3):
        latents = draw(G)
        pair = [render(G, latents, [latents.q], none, frozen=way)[0] for way in (None, frozen)]
        assert torch.equal(*pair)


@torch.no_grad()
def test_networks_share_nothing():
    """Not even those that were recorded for the same inputs."""
    networks = [quality_generator("pixels"), quality_generator("pixels")]
    frozen, latents = [FrozenSynthesis(G, calls_before=1) for G in networks], draw(networks[0])
    for _ in range(4):
        for G, way in zip(networks, frozen, strict=True):
            assert_same_images(G, way, latents)


def test_weights_may_be_written_to():
    """As an optimizer, a moving average or a file of weights does it."""
    G, other = quality_generator(), quality_generator()
    frozen, latents = FrozenSynthesis(G, calls_before=1), draw(G)
    changes = [
        lambda: G.synthesis.b4.const.mul_(2),
        lambda: G.load_state_dict(other.state_dict()),
        lambda: setattr(G.synthesis.b8.conv1.weight, "data", torch.randn_like(G.synthesis.b8.conv1.weight)),
    ]
    with torch.no_grad():
        for change in changes:
            for _ in range(3):
                assert_same_images(G, frozen, latents)
            change()
            assert_same_images(G, frozen, latents)


def test_gradients_take_the_networks_own_passes():
    G = quality_generator().requires_grad_(False)
    frozen, latents = FrozenSynthesis(G, calls_before=1), draw(G)
    with torch.no_grad():
        for _ in range(3):
            images = render(G, latents, [latents.q], frozen=frozen)[0]
    ws = latents.ws.clone().requires_grad_()
    again = render(G, dataclasses.replace(latents, ws=ws), [latents.q], frozen=frozen)[0]
    assert torch.autograd.grad(again.sum(), ws)[0].any() and torch.equal(images, again)
    weight = torch.ones((), requires_grad=True)
    (images * weight).sum().backward()  # what was replayed may be used by autograd afterwards


def with_padding(G, latents):
    rings = {name: torch.randn_like(ring) for name, ring in G.synthesis.own_padding().rings.items()}
    return dataclasses.replace(latents, padding=Padding(torch.randn(1, *G.code_shapes()["padding.const"]), rings))


def with_features(G, latents, layer=3):
    return dataclasses.replace(latents, features=Features(torch.randn(1, *G.code_shapes()[f"features.{layer}"]), layer))


@torch.no_grad()
def test_codes_may_have_more():
    """Codes of all kinds, in turns, for a network with two blocks before the first with a DegradBlock."""
    G = quality_generator("pixels", resolution=32)
    frozen = FrozenSynthesis(G, calls_before=1)
    for _ in range(3):
        latents = draw(G)
        for codes in (latents, with_padding(G, latents), with_features(G, latents), with_features(G, latents, 2)):
            assert_same_images(G, frozen, codes)
    assert [len(passes.image._programs) for passes in frozen._passes.values()] == [2] * 4  # with and without q


@torch.no_grad()
def test_inputs_that_were_the_same_may_differ_later():
    weight = torch.randn(3)
    replayed = Replayed(lambda x, y: (x - 2 * y + weight,), [weight])
    x, y = torch.randn(3), torch.randn(3)
    for first, second in [(x, x), (weight, weight), (x, y), (y, x)]:
        assert torch.equal(replayed(first, second)[0], first - 2 * second + weight)


@torch.no_grad()
def test_what_depends_on_weights_alone_is_computed_once():
    weight, calls = torch.randn(4, 4), []

    def function(x, y):
        calls.append(1)
        scaled = (weight * 2).t()
        both = torch.cat([x @ scaled, torch.zeros_like(x)], dim=1)
        both.add_(1.0, alpha=0.5)
        first, second = both.split(4, dim=1)
        return x, first * second if y is None else first + y, None

    replayed = Replayed(function, [weight])
    for _ in range(4):
        x = torch.randn(2, 4)
        same, product, nothing = replayed(x, None)
        expected = function(x, None)
        assert same.data_ptr() == x.data_ptr() and nothing is None and torch.equal(product, expected[1])
    assert len(calls) == 2 + 4
    [program] = replayed._programs.values()
    assert len(program.steps) == 8  # matmul, zeros_like, list, cat, add_, split of two, mul: without `weight * 2`
    assert torch.equal(replayed(x, x)[1], function(x, x)[1])
    product = weakref.ref(program((x, None))[1])
    gc.collect()
    assert product() is None and all(value is None for value in program.values[:2])


@torch.no_grad()
def test_a_kind_is_recorded_after_some_calls():
    weight, calls = torch.randn(3), []
    replayed = Replayed(lambda x: (calls.append(len(x)) or x + weight,), [weight], calls_before=3)
    for rows in (1, 2):
        for _ in range(6):
            x = torch.randn(rows, 3)
            assert torch.equal(replayed(x)[0], x + weight)
    assert calls == 4 * [1] + 4 * [2]  # the fourth is written down
    weight.mul_(2)
    for _ in range(6):
        replayed(torch.randn(1, 3))
    assert len(calls) == 12


@torch.no_grad()
def test_what_cannot_be_replayed_is_called():
    """A function that draws numbers, or that looks at values."""
    draws = Replayed(lambda x: (x + torch.randn(3),), [])
    looks = Replayed(lambda x: (x * 2 if x.sum() > 0 else x,), [])
    x = torch.ones(3)
    assert len({draws(x)[0].sum().item() for _ in range(5)}) == 5
    for _ in range(3):
        assert torch.equal(looks(x)[0], 2 * x) and torch.equal(looks(-x)[0], -x)
