"""Editing: the step along a direction, and what stays as it is."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from generation.rendering import stored_noise, synthesize
from inversion.directions.direction import Direction, load_direction, require_of_ws, save_direction
from inversion.directions.editing import edit, edited_images
from inversion.directions.following import similarity
from inversion.directions.padding_direction import PaddingDirection
from inversion.directions.search import Search, find_directions
from networks.latents import Features, Latents, Padding
from tests.support.codes import full_codes, same_bits
from tests.support.networks import quality_generator, small_generator
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import save_tensors


@pytest.fixture(scope="module", name="G")
def generator():
    return quality_generator()


def latents_of(G, count=3):
    return Latents(torch.randn(count, G.num_ws, G.w_dim), q=torch.randn(count, 4))


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


@pytest.mark.parametrize("yielding", [-1.0, math.nan, math.inf])
def test_features_yield_by_no_odd_number(G, yielding):
    with pytest.raises(UserError, match=rf"^yielding is {yielding}, must be at least 0 and finite; take"):
        edit(G, latents_of(G), direction(unit(G.w_dim)), 1.0, yielding=yielding)


# Paddings and features


@pytest.fixture(scope="module", name="large")
def _large():
    """A network with layers before and behind features of layers 3 and 2."""
    return quality_generator(resolution=32).requires_grad_(False)


@pytest.mark.parametrize("layer", [2, 3])
@pytest.mark.parametrize("parts", [("features",), ("padding", "features")])
def test_features_move_by_the_difference_of_the_networks_own(large, layer, parts):
    """F~ = F + G(w~^{1:K}) - G(w^{1:K}) (Yao et al. 2022, Eq. 1), with the paddings and the same noise in both."""
    latents, tail = full_codes(large, 3, layer, parts), direction(unit(large.w_dim))
    edited = edit(large, latents, tail, 2.0, yielding=0)
    own = [large.synthesis.layer_output(codes, stored_noise(large, 3), layer) for codes in (latents, edited)]
    assert_close(edited.features.values, latents.features.values + own[1] - own[0])
    assert (own[1] - own[0]).abs().max() > 1e-2
    kept = dataclasses.replace(edited, ws=latents.ws, features=latents.features)
    assert same_bits(kept, latents)
    noise = large.synthesis.make_noise("random", 3)
    other = edit(large, latents, tail, 2.0, noise, yielding=0)
    own = [large.synthesis.layer_output(codes, noise, layer) for codes in (latents, other)]
    assert_close(other.features.values, latents.features.values + own[1] - own[0])


@pytest.mark.parametrize("yielding", [0.5, 1.0, 2.0])
def test_features_yield_to_the_networks_own_where_an_edit_moves_what_they_show(large, yielding):
    latents, tail = full_codes(large, 3), direction(unit(large.w_dim))
    edited = edit(large, latents, tail, 2.0, yielding=yielding)
    old, new = (large.synthesis.layer_output(codes, stored_noise(large, 3), 3) for codes in (latents, edited))
    kept = similarity(old, new)
    assert kept.min() < 0.9 < kept.max()
    assert_close(edited.features.values, new + kept**yielding * (latents.features.values - old))


def test_similarity_is_of_places_and_hears_no_shift_of_a_channel():
    a, b = torch.randn(2, 2, 8, 9, 9)
    assert_close(similarity(a, a + torch.randn(2, 8, 1, 1)), torch.ones(2, 1, 9, 9))
    assert_close(similarity(a, b), similarity(b, a))
    assert similarity(a, -a).max() == 0 and similarity(torch.zeros(1, 8, 9, 9), torch.zeros(1, 8, 9, 9)).max() == 0
    b[:, :, :, 5:] = a[:, :, :, 5:]  # the right half is the same, but for the means
    kept = similarity(a, b).mean((0, 1, 2))
    assert kept[6:].min() > 0.9 > 0.5 > kept[:4].max()


def test_own_features_follow_an_edit_to_the_plain_image(large):
    latents = full_codes(large, 2, parts=("padding",))
    own = large.synthesis.layer_output(latents, stored_noise(large, 2), 3)
    tail = direction(unit(large.w_dim))
    codes = dataclasses.replace(latents, features=Features(own, 3))
    plain, held = (edited_images(large, each, tail, 1.5) for each in (latents, codes))
    for a, b in zip(plain, held, strict=True):
        assert_close(a, b, rtol=1e-4)


def test_features_keep_their_bits_where_nothing_before_them_moves(large, monkeypatch):
    latents = full_codes(large, 3)
    latents.features.values[0, 0, 0, 0] = -0.0
    tail = direction(unit(large.w_dim))
    some = edit(large, latents, tail, torch.tensor([0.0, 1.0, 0.0])).features.values
    assert some[::2].numpy().tobytes() == latents.features.values[::2].numpy().tobytes()
    assert not torch.equal(some[1], latents.features.values[1])
    monkeypatch.setattr(type(large.synthesis), "layer_output", None)  # which nothing asks then
    assert same_bits(edit(large, latents, tail, 0.0), latents)
    behind = dataclasses.replace(tail, layers=tuple(range(3, large.num_ws)))
    edited = edit(large, latents, behind, 2.0)
    assert edited.features is latents.features and not torch.equal(edited.ws, latents.ws)


@pytest.mark.parametrize("parts", [(), ("padding",), ("features",), ("padding", "features")])
def test_sefa_edits_all_kinds_of_codes(large, parts):
    [found] = find_directions(large, "sefa", Search(count=1, samples=50))
    latents = full_codes(large, 2, parts=parts)
    kept, sharp = edited_images(large, latents, found, 3.0)
    assert kept.shape == sharp.shape == (2, 3, 32, 32)
    for images, codes in ((kept, latents), (sharp, latents.sharp())):
        assert (images - synthesize(large, codes)).abs().amax((1, 2, 3)).min() > 1e-2


def padding_direction(G, names=("const", "b4.conv1")):
    shapes = G.code_shapes()
    return PaddingDirection(
        Padding.from_tensors({name: torch.randn(1, *shapes[f"padding.{name}"]) for name in names}), "glasses", "pair"
    )


def test_directions_among_paddings_move_those_alone(large, tmp_path):
    save_direction(tmp_path / "glasses.safetensors", padding_direction(large))
    glasses = load_direction(tmp_path / "glasses.safetensors", large)
    latents = full_codes(large, 2, parts=("padding",))
    edited = edit(large, latents, glasses, 1.5)
    for name, value in latents.tensors().items():
        step = glasses.padding.tensors().get(name.removeprefix("padding."))
        assert_close(edited.tensors()[name], value if step is None else value + 1.5 * step)
    assert same_bits(edit(large, latents, glasses, 0.0), latents)


def test_features_follow_paddings_as_well(large):
    latents, glasses = full_codes(large, 2), padding_direction(large)
    edited = edit(large, latents, glasses, 1.0, yielding=0)
    own = [large.synthesis.layer_output(codes, stored_noise(large, 2), 3) for codes in (latents, edited)]
    assert_close(edited.features.values, latents.features.values + own[1] - own[0])


def test_what_paddings_lack_begins_as_the_networks_own(large):
    latents = full_codes(large, 2, parts=("padding",))
    partial = dataclasses.replace(latents, padding=Padding(None, {"b8.conv1": latents.padding.rings["b8.conv1"]}))
    glasses = padding_direction(large)
    edited = edit(large, partial, glasses, 1.0).padding
    assert_close(edited.const, large.synthesis.block(0).const + glasses.padding.const.expand(2, -1, -1, -1))
    assert_close(edited.rings["b4.conv1"], glasses.padding.rings["b4.conv1"].expand(2, -1, -1))
    assert edited.rings["b8.conv1"] is partial.padding.rings["b8.conv1"]
    assert_close(synthesize(large, edit(large, partial, glasses, 0.0)), synthesize(large, partial), rtol=1e-5)


def test_codes_without_paddings_are_not_edited_among_them(large):
    with pytest.raises(UserError, match=r"^direction glasses moves paddings, and these codes have none; give an enc"):
        edit(large, full_codes(large, parts=("features",)), padding_direction(large), 1.0)


def test_directions_among_paddings_of_another_network(large, G, tmp_path):
    save_direction(tmp_path / "glasses.safetensors", padding_direction(large, ("b32.conv1",)))
    with pytest.raises(UserError, match=r"^direction glasses has padding.b32.conv1, which this network has no place"):
        load_direction(tmp_path / "glasses.safetensors", G)


@pytest.mark.parametrize(
    ("tensors", "header", "sentence"),
    [
        ({}, {}, r"^.*glasses.safetensors is damaged; copy or make it again$"),
        ({"const": torch.zeros([])}, {}, r"glasses.safetensors is damaged; copy"),
        ({"const": torch.zeros(2, 16, 4, 4)}, {}, r"glasses.safetensors is damaged; copy"),
        (
            {"const": torch.zeros(1, 16)},
            {},
            r"^direction glasses has padding.const of \[16\], not \[16, 4, 4\]; take one",
        ),
        ({"vector": torch.zeros(16)}, {}, r"glasses.safetensors is damaged; copy"),
        ({"vector": torch.zeros(1, 16)}, {}, r"^direction glasses has padding.vector, which this network has no place"),
        ({"const": torch.zeros(1, 16, 4, 4)}, {"space": "qs"}, r"glasses.safetensors holds no direction \("),
        ({"const": torch.zeros(1, 16, 4, 4)}, {"space": "ws"}, r"holds no direction \(no tensor 'vector'\)"),
    ],
)
def test_damaged_directions_among_paddings_end_in_a_sentence(G, tmp_path, tensors, header, sentence):
    common = {"kind": "direction", "name": "glasses", "method": "pair", "std": 1.0, "space": "padding"}
    save_tensors(tmp_path / "glasses.safetensors", tensors, common | header)
    with pytest.raises(UserError, match=sentence):
        load_direction(tmp_path / "glasses.safetensors", G)


def test_directions_of_files_without_a_space_are_in_w(G, tmp_path):
    header = {"kind": "direction", "name": "old", "method": "sefa", "std": 1.5}
    save_tensors(tmp_path / "old.safetensors", {"vector": unit(16)}, header)
    assert load_direction(tmp_path / "old.safetensors", G).std == 1.5


def test_what_needs_a_direction_in_w_says_so(large):
    with pytest.raises(UserError, match=r"^direction glasses moves paddings, and here it takes one in w; give another"):
        require_of_ws(padding_direction(large))
    assert require_of_ws(direction(unit(16))).name == "tail"
