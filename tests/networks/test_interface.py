"""What every kind of generator promises to the rest of the program; a new kind is asked here on arrival."""

import dataclasses

import pytest
import torch
from torch.func import functional_call

from dnnlib.config import from_dict, to_dict
from dnnlib.errors import UserError
from generation.rendering import render, synthesize
from networks.config import GeneratorConfig, QualityConfig
from networks.files import KINDS, ImageFormat, build_generator
from networks.latents import Latents, Padding
from tests.support.networks import SMALL
from tests.support.tolerance import assert_close

CASES = [(kind, injection) for kind in KINDS.names() for injection in ("plain", "degrad_block")]
CASES += [("stylegan2", injection) for injection in ("concat_z", "concat_w", "dual_style")]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def G(request):  # noqa: N802 - the field's name
    kind, injection = request.param
    quality = None if injection == "plain" else QualityConfig(injection=injection, q_dim=4, channels=8)
    config = dataclasses.replace(SMALL, kind=kind, quality=quality)
    G = build_generator(config, ImageFormat(16, 3, 0)).eval().requires_grad_(False)
    for parameter in G.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return G


@pytest.fixture
def latents(G):
    q = torch.randn(3, G.q_dim) if G.q_dim > 0 else None
    return Latents(G.mapping(torch.randn(3, G.z_dim), None), q=q)


def test_sizes(G, latents):
    assert latents.ws.shape == (3, G.num_ws, G.w_dim)
    assert (G.q_dim > 0) == (G.config.quality is not None)
    assert 0 <= G.synthesis.trunk_blocks < G.synthesis.num_blocks
    sees_all = G.config.quality is not None and G.config.quality.injection in ("concat_z", "concat_w")
    assert (G.synthesis.trunk_blocks == 0) == (G.q_dim == 0 or sees_all)
    image = synthesize(G, latents)
    assert image.shape == (3, 3, 16, 16) and image.dtype == torch.float32


def test_content_and_image_are_the_whole_network(G, latents):
    noise = G.synthesis.make_noise("random", 3)
    content = G.synthesis.content(latents, noise)
    assert torch.equal(G.synthesis.image(content), G.synthesis(latents.ws, noise=noise))
    assert_close(G.synthesis.image(content, latents.q), G.synthesis(latents.ws, latents.q, noise=noise))


def test_the_own_padding_leaves_images_as_they_are(G, latents):
    tensors = G.synthesis.own_padding().tensors()
    assert {f"padding.{name}" for name in tensors} == {name for name in G.code_shapes() if name.startswith("padding.")}
    padding = Padding.from_tensors({name: value.expand(3, *value.shape[1:]) for name, value in tensors.items()})
    padded = dataclasses.replace(latents, padding=padding)
    assert_close(synthesize(G, padded), synthesize(G, latents), rtol=1e-5)


def test_every_code_that_a_network_takes_has_an_effect(G, latents):
    image = synthesize(G, latents)
    assert G.misfit({name: value.shape[1:] for name, value in latents.tensors().items()}) is None
    for name, shape in G.code_shapes().items():
        changed = Latents.from_tensors(latents.tensors() | {name: torch.randn(3, *shape)})
        assert not torch.equal(synthesize(G, changed), image), name


def test_content_may_be_prolonged(G, latents):
    """Running some blocks first and the others later gives the same image."""
    noise = G.synthesis.make_noise("const", 3)
    images = [G.synthesis.image(G.synthesis.content(latents, noise, blocks)) for blocks in (0, 1, None)]
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])


def test_twins_are_the_sharp_and_the_degraded_image(G, latents):
    content = G.synthesis.content(latents, G.synthesis.make_noise("const", 3))
    if latents.q is None:
        with pytest.raises(AssertionError, match="no quality code"):
            G.synthesis.twins(content, torch.zeros(3, 4))
        return
    twins, features = G.synthesis.twins(content, latents.q)
    sharp, degraded = render(G, latents, [None, latents.q])
    assert_close(twins, torch.cat([sharp, degraded]))
    for both, sharp_features in zip(features, G.synthesis.features(content), strict=True):
        assert_close(both[:3], sharp_features)


@pytest.mark.parametrize("last_blocks", [1, 2, None])
def test_parts_are_the_network_and_take_other_weights(G, latents, last_blocks):
    first, last = G.synthesis.parts(last_blocks)
    start = G.synthesis.content(latents, G.synthesis.make_noise("const", 3), blocks=0)
    content = first(start, latents.q)
    sharp = synthesize(G, latents.sharp())
    expected = sharp if latents.q is None else torch.cat([sharp, synthesize(G, latents)])
    assert_close(last(content, latents.q).img, expected)
    zeros = {name: torch.zeros_like(parameter) for name, parameter in last.own_parameters().items()}
    assert zeros.keys() <= dict(G.named_parameters()).keys()
    assert not torch.allclose(functional_call(last, zeros, (content, latents.q)).img, expected)


def test_style_layers_are_driven_by_all_w(G):
    layers = list(G.synthesis.style_layers())
    assert {driver for driver, _ in layers} == set(range(G.num_ws))
    assert all(weights.shape[1] == G.w_dim for _, weights in layers)


def test_a_traceable_copy_computes_the_same(G, latents):
    copied = G.synthesis.traceable()
    content = copied.content(latents, copied.make_noise("const", 3))
    assert_close(copied.image(content, latents.q), synthesize(G, latents))
    assert copied is not G.synthesis


def test_a_plain_generator_refuses_a_quality_code(G, latents):
    if G.q_dim == 0:
        with pytest.raises(AssertionError, match="no quality code"):
            render(G, latents, [torch.ones(3, 4)])


def test_labels_go_through_all_classes():
    G = build_generator(SMALL, ImageFormat(16, 3, 3))
    assert torch.equal(G.labels_in_turn(4), torch.eye(3)[[0, 1, 2, 0]])
    assert build_generator(SMALL, ImageFormat(16, 3, 0)).labels_in_turn(4) is None


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match="unknown kind of generator 'stylegan1'; did you mean 'stylegan2'"):
        build_generator(dataclasses.replace(SMALL, kind="stylegan1"), ImageFormat(16, 3, 0))


def test_files_without_a_kind_are_stylegan2():
    values = to_dict(SMALL)
    del values["kind"]
    assert from_dict(GeneratorConfig, values) == SMALL and SMALL.kind == "stylegan2"
