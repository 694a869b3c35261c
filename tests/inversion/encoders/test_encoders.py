"""Encoders: shapes, what their networks share and don't, and their files."""

import itertools

import pytest
import torch

from dnnlib.config import with_overrides
from dnnlib.errors import UserError
from inversion.encoders.backbones import resnet34
from inversion.encoders.backbones.resnet34 import Backbone, Block
from inversion.encoders.config import BACKBONES, EncoderConfig, EncoderNetworkConfig
from inversion.encoders.encoder import SPREAD_SAMPLES, build_encoder, spread_of_w
from inversion.encoders.files import load_encoder, read_encoder_header, require_network, require_same_shape
from inversion.encoders.heads import StyleHead, StylePyramid, style_counts
from metrics.weights.directory import WeightsDirectory
from networks.files import load_generator
from tests.support import small
from tests.support.encoders import TINY, write_encoder
from tests.support.networks import quality_generator, small_generator, write_network
from tests.support.tolerance import assert_close


@pytest.fixture(name="G")
def generator():
    generator = quality_generator()
    generator.mapping.w_avg.normal_()
    return generator.requires_grad_(False)


def tiny(**changes):
    return EncoderNetworkConfig(**{**vars(TINY), **changes})


@pytest.fixture
def files(tmp_path, G):
    """A network, its encoder, and their paths."""
    network = write_network(tmp_path / "network.safetensors", G, mode="qc")
    path = tmp_path / "encoder-000000.safetensors"
    encoder = write_encoder(path, G, network, kimg=0.5, licence="none")
    return network, path, encoder


@pytest.mark.parametrize(
    ("num_ws", "counts"), [(1, [1]), (3, [3]), (6, [3, 3]), (8, [3, 4, 1]), (10, [3, 4, 3]), (18, [3, 4, 11])]
)
def test_every_layer_gets_its_w(num_ws, counts):
    assert style_counts(num_ws) == counts
    assert sum(counts) == num_ws


@pytest.mark.parametrize("input_size", [64, 112, 256])
@pytest.mark.parametrize("num_ws", [8, 18])
def test_pyramid_takes_maps_of_any_side(input_size, num_ws):
    channels, sides = (4, 8, 16), [input_size // 4, input_size // 8, input_size // 16]
    pyramid = StylePyramid(channels, sides, num_ws, 5)
    maps = [torch.randn(2, width, side, side) for width, side in zip(channels, sides, strict=True)]
    assert pyramid(maps).shape == (2, num_ws, 5)
    assert StylePyramid(channels, sides, num_ws, 5, shared=True)(maps).shape == (2, num_ws, 5)


@pytest.mark.parametrize("shared", [False, True])
def test_coarse_codes_hear_only_the_deepest_map_and_fine_ones_hear_all(shared):
    channels, sides = (4, 8, 16), (16, 8, 4)
    pyramid = StylePyramid(channels, sides, 10, 5, shared=shared)
    assert [len(heads) for heads in pyramid.heads] == ([1, 1, 1] if shared else [3, 4, 3])
    maps = [torch.randn(1, w, side, side, requires_grad=True) for w, side in zip(channels, sides, strict=True)]
    codes = pyramid(maps)
    for row, heard in ((0, [False, False, True]), (2, [False, False, True]), (3, [False, True, True]), (9, [True] * 3)):
        gradients = torch.autograd.grad(codes[:, row].sum(), maps, retain_graph=True, allow_unused=True)
        assert [g is not None and bool(g.any()) for g in gradients] == heard


@pytest.mark.parametrize("side", [2, 4, 7, 16])
def test_heads_see_the_whole_map(side):
    head = StyleHead(3, side, 2)
    x = torch.randn(1, 3, side, side, requires_grad=True)
    head(x).sum().backward()
    assert x.grad.ne(0).any(1).all()


@pytest.mark.parametrize("name", BACKBONES.names())
@pytest.mark.parametrize("in_channels", [1, 3])
def test_backbones_give_maps_of_a_quarter_an_eighth_and_a_sixteenth(name, in_channels):
    with torch.device("meta"):  # shapes alone
        backbone = BACKBONES.get(name).build_backbone(in_channels, 1.0)
        maps = backbone.maps(torch.empty(2, in_channels, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(c, s, s) for c, s in zip(backbone.channels, (16, 8, 4), strict=True)]


def test_resnet34_has_the_papers_layers_and_weights(monkeypatch):
    """16 blocks of two convolutions and the first layer, 33 in all; the last of the 34 is the classifier's."""
    monkeypatch.setattr(resnet34, "STAGES", small.STAGES_OF_THE_PAPER)
    with torch.device("meta"):
        backbone = Backbone(3, 1.0)
    blocks = [m for m in backbone.modules() if isinstance(m, Block)]
    assert len(blocks) == 16
    assert sum(p.numel() for p in backbone.parameters()) == 21_284_672
    assert sum(m.kernel_size != (1, 1) for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)) == 33


def test_a_block_adds_its_shortcut():
    block = Block(8, 8, 1).eval()
    torch.nn.init.zeros_(block.norm2.weight)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_codes_fit_the_generator_for_images_of_any_side(G, resolution):
    encoder = build_encoder(TINY, G).eval()
    latents = encoder(torch.rand(2, 3, resolution, resolution) * 2 - 1)
    assert latents.ws.shape == (2, G.num_ws, G.w_dim) and latents.q.shape == (2, G.q_dim)
    assert latents.ws.dtype == latents.q.dtype == torch.float32
    assert G.synthesis(latents.ws, latents.q, noise_mode="const").shape == (2, 3, 16, 16)


def test_images_are_resized_by_area(G):
    encoder = build_encoder(TINY, G).eval()
    small = torch.rand(1, 3, 32, 32)
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert_close(encoder(large).ws, encoder(small).ws)


def test_w_repeats_one_row_and_w_plus_does_not(G):
    images = torch.randn(2, 3, 32, 32)
    w = build_encoder(tiny(space="w"), G).eval()(images).ws
    assert torch.equal(w, w[:, :1].expand_as(w))
    plus = build_encoder(TINY, G).eval()(images).ws
    assert all(not torch.equal(plus[:, i], plus[:, j]) for i, j in itertools.combinations(range(G.num_ws), 2))


@pytest.mark.parametrize(("width", "channels"), [(0.5, (64, 128, 256)), (0.1, (16, 24, 48))])
def test_width_scales_channels_to_multiples_of_eight(width, channels):
    assert Backbone(3, width).channels == channels


def test_w_is_an_offset_from_the_average_in_units_of_its_spread(G):
    encoder = build_encoder(TINY, G).eval()
    images = torch.randn(2, 3, 32, 32)
    offsets = encoder.content(images)
    assert_close(encoder(images).ws, G.mapping.w_avg + spread_of_w(G) * offsets)
    torch.nn.init.zeros_(encoder.content.heads.heads[0][0].linear.weight)
    assert torch.equal(encoder(images).ws[:, 0], G.mapping.w_avg.expand(2, -1))


def test_spread_is_that_of_w(G):
    w = G.mapping(torch.randn(SPREAD_SAMPLES * 4, G.z_dim), None)[:, 0]
    assert_close(spread_of_w(G), (w - G.mapping.w_avg).square().mean().sqrt(), rtol=0.05)


def test_w_and_q_have_weights_of_their_own(G):
    encoder = build_encoder(TINY, G)
    content = {id(p) for p in encoder.content.parameters()}
    assert content.isdisjoint({id(p) for p in encoder.quality.parameters()})


def test_a_plain_generator_has_no_q():
    encoder = build_encoder(TINY, small_generator().eval())
    assert encoder.quality is None
    assert encoder(torch.randn(2, 3, 16, 16)).q is None


@pytest.mark.parametrize("space", ["w", "w+"])
def test_gradient_reaches_every_weight_of_the_encoder_and_none_of_the_generator(G, space):
    encoder = build_encoder(tiny(space=space), G)
    latents = encoder(torch.randn(4, 3, 32, 32))
    (latents.ws.square().mean() + latents.q.square().mean() + G.synthesis(latents.ws, latents.q).mean()).backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(p.grad is None for p in G.parameters())


def test_a_stored_encoder_gives_the_same_codes(files):
    network, path, encoder = files
    G, _ = load_generator(network)
    loaded = load_encoder(path, network, G)
    images = torch.randn(2, 3, 32, 32)
    expected, found = encoder(images), loaded(images)
    assert torch.equal(found.ws, expected.ws) and torch.equal(found.q, expected.q)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


def load_changed(G, network, path):
    """Load an encoder for a network that has changed since."""
    with torch.no_grad():
        next(G.parameters()).add_(1)
    return load_encoder(path, write_network(network.with_name("other.safetensors"), G), G)


def load_damaged(G, network, path):
    path.write_bytes(path.read_bytes()[:-100])
    return load_encoder(path, network, G)


REFUSALS = {
    "encoder-000000.safetensors was trained for another network than .*other": load_changed,
    "is for a network with resolution 16, .* has 32; give the encoder of this": lambda G, network, path: load_encoder(
        path, network, quality_generator(resolution=32)
    ),
    "has 4; if it was trained on the plain network .* exchange.slim .* --for-network=network`": lambda G, _, path: (
        require_same_shape(path, {**read_encoder_header(path)["network"], "q_dim": None}, "network", G)
    ),
    "network.safetensors is no encoder; give an encoder-": lambda G, network, path: load_encoder(network, network, G),
    "encoder-000000.safetensors is an encoder, not a network": lambda G, network, path: load_encoder(path, path, G),
    "truncated": load_damaged,
    "does not exist": lambda G, network, path: load_encoder(path.with_name("absent.safetensors"), network, G),
    "encoder width is 0.5, must be 1 with the backbone ir_se50": lambda G, network, path: build_encoder(
        EncoderNetworkConfig(width=0.5), G
    ),
    "ArcFace weights are those of ir_se50, not resnet34": lambda G, network, path: build_encoder(
        TINY, G, WeightsDirectory(path.parent)
    ),
    "weights --fetch=arcface": lambda G, network, path: build_encoder(
        EncoderNetworkConfig(), G, WeightsDirectory(path.parent)
    ),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusals(files, G, sentence):
    network, path, _ = files
    with pytest.raises(UserError, match=sentence):
        REFUSALS[sentence](G, network, path)


def test_the_header_of_a_network_is_returned(files):
    assert require_network(files[0])["mode"] == "qc"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"encoder.backbone": "resnet43"}, r"unknown backbone 'resnet43'; did you mean 'resnet34'\?"),
        ({"encoder.width": "0"}, r"encoder.width is 0.0, must be above 0 and at most 4"),
        ({"encoder.input_size": "100"}, r"encoder.input_size is 100, must be a multiple of 16 from 32 to 512"),
        ({"encoder.space": "z"}, r"unknown value of encoder.space 'z'; .*nown: w, w\+"),
        ({"data.own_share": "1"}, r"data.own_share is 1.0, must be from 0 to below 1"),
        ({"data.own_share": "0.9", "batch": "2"}, r"data.own_share is 0.9, must be less, so that 2 hold a photo"),
        ({"batch": "1"}, r"batch is 1, must be at least 2"),
        ({"loss.sharp.l2": "-1"}, r"loss weight l2 is -1.0, must be at least 0"),
        ({"loss.own_q": "-1"}, r"loss.own_q is -1.0, must be at least 0"),
        ({"loss.perceptual": "vgg"}, r"unknown value of loss.perceptual 'vgg'"),
        ({"schedule.final": "2"}, r"schedule.final is 2.0, must be from 0 to 1"),
        ({"run.kimg": "0"}, r"run.kimg is 0.0, must be above 0"),
    ],
)
def test_a_bad_configuration_ends_in_a_sentence(overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        with_overrides(EncoderConfig(), overrides)


def test_ir_se50_begins_with_published_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("metrics.backbones.ir_se50.STAGES", ((16, 1), (32, 1), (32, 1), (32, 1)))
    module = BACKBONES.get("ir_se50")
    torch.manual_seed(1)
    published = module.build_backbone(3, 1.0)
    torch.save(published.state_dict(), tmp_path / "model_ir_se50.pth")
    torch.manual_seed(2)
    begun = module.build_backbone(3, 1.0, WeightsDirectory(tmp_path))
    for (name, value), expected in zip(begun.state_dict().items(), published.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name
    assert all(p.requires_grad for p in begun.parameters())
    with pytest.raises(UserError, match="leave out --arcface for gray images"):
        module.build_backbone(1, 1.0, WeightsDirectory(tmp_path))
