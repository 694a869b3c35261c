"""Editing: the step along a direction, and what stays as it is."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from generation.rendering import synthesize
from inversion.directions.direction import Direction
from inversion.directions.editing import edit, edited_images
from networks.latents import Latents
from tests.support.networks import quality_generator, small_generator
from tests.support.tolerance import assert_close


@pytest.fixture(scope="module", name="G")
def generator():
    return quality_generator()


def latents_of(G, count=3):
    return Latents(torch.randn(count, G.num_ws, G.w_dim), torch.randn(count, 4))


def direction(vector, layers=None, std=1.5):
    return Direction(vector, std, "tail", "given", layers)


def unit(width):
    return torch.nn.functional.normalize(torch.randn(width), dim=0)


def test_strength_counts_in_standard_deviations(G):
    latents, vector = latents_of(G), unit(G.w_dim)
    edited = edit(G, latents, direction(vector), 2.0)
    assert_close(edited.ws, latents.ws + 2.0 * 1.5 * vector)
    assert edited.q is latents.q


def test_strength_zero_changes_no_bit(G):
    latents = latents_of(G)
    latents.ws[0, 0, 0] = -0.0
    edited = edit(G, latents, direction(unit(G.w_dim)), 0.0)
    assert edited.ws.numpy().tobytes() == latents.ws.numpy().tobytes()
    some = edit(G, latents, direction(unit(G.w_dim)), torch.tensor([0.0, 1.0, 0.0])).ws
    assert some[::2].numpy().tobytes() == latents.ws[::2].numpy().tobytes()
    assert not torch.equal(some[1], latents.ws[1])


@given(st.sets(st.integers(0, 5), min_size=1))
@settings(max_examples=20)
def test_other_layers_change_no_bit(G, layers):
    latents = latents_of(G)
    edited = edit(G, latents, direction(torch.ones(G.w_dim) / 4, tuple(sorted(layers))), -1.0)
    others = [layer for layer in range(G.num_ws) if layer not in layers]
    assert edited.ws[:, others].numpy().tobytes() == latents.ws[:, others].numpy().tobytes()
    assert_close(edited.ws[:, sorted(layers)], latents.ws[:, sorted(layers)] - 1.5 / 4)


def test_a_row_for_each_w_moves_each_its_own_way(G):
    latents, rows = latents_of(G), torch.randn(G.num_ws, G.w_dim)
    assert_close(edit(G, latents, direction(rows), 1.0).ws, latents.ws + 1.5 * rows)


def test_a_strength_for_each_image(G):
    latents, tail = latents_of(G), direction(unit(G.w_dim))
    together = edit(G, latents, tail, torch.tensor([-1.0, 0.5, 2.0])).ws
    for row, strength in enumerate((-1.0, 0.5, 2.0)):
        assert torch.equal(together[row], edit(G, latents[row : row + 1], tail, strength).ws[0])


def test_there_and_back(G):
    latents, tail = latents_of(G), direction(unit(G.w_dim))
    assert_close(edit(G, edit(G, latents, tail, 2.0), tail, -2.0).ws, latents.ws)


def test_images_keep_their_quality_and_have_a_sharp_twin(G):
    latents, tail = latents_of(G), direction(unit(G.w_dim))
    kept, sharp = edited_images(G, latents, tail, 1.0)
    edited = edit(G, latents, tail, 1.0)
    assert_close(kept, synthesize(G, edited))
    assert_close(sharp, synthesize(G, edited.sharp()))
    assert (kept - sharp).abs().max() > 1e-3


def test_a_plain_network_edits_too():
    G = small_generator()
    latents = Latents(torch.randn(2, G.num_ws, G.w_dim))
    kept, sharp = edited_images(G, latents, direction(unit(G.w_dim)), 1.0)
    assert torch.equal(kept, sharp)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"vector": torch.ones(8)}, r"^direction tail has 8 numbers, and this network's w has 16; take one that"),
        ({"vector": torch.ones(9, 16)}, r"^direction tail has 9 rows, and this network has 6 ws; take one of a single"),
        ({"layers": (2, 6)}, r"^direction tail applies to layer 6, and this network has 0 to 5; take one that was"),
    ],
)
def test_widths_must_fit(G, change, sentence):
    with pytest.raises(UserError, match=sentence):
        edit(G, latents_of(G), dataclasses.replace(direction(unit(G.w_dim)), **change), 1.0)


@pytest.mark.parametrize("strength", [math.nan, math.inf])
def test_strengths_are_finite(G, strength):
    with pytest.raises(UserError, match=rf"^the strength of tail is {strength}, must be finite"):
        edit(G, latents_of(G), direction(unit(G.w_dim)), strength)
