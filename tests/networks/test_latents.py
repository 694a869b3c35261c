"""Codes: every operation goes through all fields, and none of them is lost on the way."""

import dataclasses

import pytest
import torch

from networks.latents import Features, Latents, Padding, join


def codes(count=3, with_q=True, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(count, *shape, generator=rng)

    padding = Padding(draw(4, 4, 4), {"b4.conv1": draw(4, 20), "b8.conv0": draw(4, 40)})
    return Latents(
        draw(4, 2), q=draw(5) if with_q else None, padding=padding, features=Features(draw(4, 8, 8), 3, in_image=True)
    )


def same(a, b):
    return a.tensors().keys() == b.tensors().keys() and all(
        torch.equal(value, b.tensors()[name]) for name, value in a.tensors().items()
    )


def test_every_field_has_tensors_by_name():
    fields = [field.name for field in dataclasses.fields(Latents)]
    assert {name.partition(".")[0] for name in codes().tensors()} == set(fields)  # the tests below see every field
    assert list(codes().tensors()) == [
        *("ws", "q", "padding.const", "padding.b4.conv1", "padding.b8.conv0"),
        "features.3.in_image",
    ]
    features = Latents.from_tensors(codes().tensors()).features
    assert (features.layer, features.in_image) == (3, True)


@pytest.mark.parametrize("with_q", [True, False])
def test_rows_joined_are_the_whole(with_q):
    latents = codes(with_q=with_q)
    assert same(join(latents.rows()), latents)
    assert same(join([latents[:1], latents[1:]]), latents)
    assert same(latents.row(1), latents[1:2]) and len(latents.row(1)) == 1


@pytest.mark.parametrize("with_q", [True, False])
def test_tensors_survive_a_file(with_q):
    latents = codes(with_q=with_q)
    assert same(Latents.from_tensors(latents.tensors() | {"something": torch.zeros(1)}), latents)
    with pytest.raises(KeyError):
        Latents.from_tensors({"q": torch.zeros(1, 5)})


def test_map_changes_every_field():
    latents = codes()
    doubled = latents.map(lambda value: 2 * value)
    assert all(torch.equal(value, 2 * latents.tensors()[name]) for name, value in doubled.tensors().items())


def test_lerp_reaches_both_ends_and_takes_a_missing_field_for_zero():
    start, end = codes(seed=1), codes(seed=2)
    assert same(start.lerp(end, 0.0), start)
    halfway = start.lerp(end, 0.5)
    for name, value in halfway.tensors().items():
        assert torch.allclose(value, (start.tensors()[name] + end.tensors()[name]) / 2, atol=1e-6)
    unpadded = dataclasses.replace(end, q=None, padding=Padding(end.padding.const))
    for mixed in (start.lerp(unpadded, 0.25), unpadded.lerp(start, 0.75)):
        assert torch.allclose(mixed.q, 0.75 * start.q)
        assert torch.allclose(mixed.padding.rings["b8.conv0"], 0.75 * start.padding.rings["b8.conv0"])


@pytest.mark.parametrize("field", ["padding", "features"])
def test_a_constant_or_features_that_only_one_has_are_not_taken_for_zero(field):
    with pytest.raises(AssertionError, match="only one of two codes has (padding.const|features.3)"):
        codes().lerp(dataclasses.replace(codes(), **{field: None}), 0.5)


def test_bare_codes_are_content_and_quality_alone():
    assert list(codes().bare().tensors()) == ["ws", "q"]


def test_repeated_codes_are_the_same_and_only_those_of_one_image_can_be():
    repeated = codes(1).repeat(3)
    assert len(repeated) == 3 and all(same(row, codes(1)) for row in repeated.rows())
    with pytest.raises(AssertionError, match="2 images are to be repeated"):
        codes(2).repeat(3)


def test_sharp_is_the_same_content_without_quality():
    latents = codes()
    assert latents.sharp().q is None and torch.equal(latents.sharp().ws, latents.ws)


def test_detached_codes_have_no_history():
    latents = codes().map(lambda value: value.requires_grad_(True) * 2)
    assert not any(value.requires_grad for value in latents.detach().tensors().values())


@pytest.mark.parametrize(
    ("ws", "q", "message"),
    [
        ((3, 4), None, r"ws has shape \[3, 4\]"),
        ((3, 4, 2), (2, 5), r"q has shape \[2, 5\], not 3 rows"),
        ((3, 4, 2), (3,), r"q has shape \[3\]"),
    ],
)
def test_wrong_shapes_are_named(ws, q, message):
    with pytest.raises(AssertionError, match=message):
        Latents(torch.zeros(ws), q=None if q is None else torch.zeros(q))


def test_parts_with_different_fields_are_not_joined():
    with pytest.raises(AssertionError, match="fields differ"):
        join([codes(), codes(with_q=False)])
