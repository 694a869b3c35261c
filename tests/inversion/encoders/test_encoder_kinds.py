"""Kinds of encoders: the reference numbers of the padding space, and what every kind promises."""

import dataclasses
import itertools
import json

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

from dnnlib.config import to_dict, with_overrides
from dnnlib.errors import UserError
from dnnlib.files import sha256
from generation.rendering import stored_noise, synthesize
from images.ranges import to_levels
from inversion.commands.encoder_config import ablated
from inversion.commands.train_encoder import train_encoder_command
from inversion.encoders import losses
from inversion.encoders.adversary import Adversary
from inversion.encoders.config import KIND_PARTS, KINDS, SIDES, EncoderConfig, FeatureHeadConfig, PaddingHeadConfig
from inversion.encoders.encoder import build_encoder, kind_module
from inversion.encoders.files import load_encoder, save_encoder, start_from
from inversion.encoders.heads import StyleHead, StylePyramid
from inversion.encoders.kinds.padding import PaddingHead
from inversion.encoders.losses import ImageTerms, features_error, w_length
from inversion.encoders.objective import ReconstructionObjective
from inversion.encoders.pairs import Pairs
from metrics.backbones.ir_se50 import Unit
from metrics.detector import Detector
from metrics.weights.directory import WeightsDirectory
from networks.latents import Latents
from tests.support.encoders import TINY
from tests.support.networks import quality_generator, small_creps, small_generator, write_network
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import read_header
from torch_utils.ops.rings import crop, ring_of
from training.losses import generator_loss, r1_penalty

NOWHERE = WeightsDirectory(None)
CPU = torch.device("cpu")


def of_kind(kind, **changes):
    values = {"kind": kind, "padding": PaddingHeadConfig(layers=3), "features": FeatureHeadConfig(3), **changes}
    return dataclasses.replace(TINY, **values)


@pytest.mark.parametrize(("kind", "what"), [("padding", "paddings"), ("feature-style", "features to replace")])
def test_kinds_refuse_a_network_without_their_codes(kind, what):
    with pytest.raises(UserError, match=f"a network of kind creps has no {what}; give --kind=psp"):
        kind_module(kind).build_head(of_kind(kind), small_creps(), 16, (16,))


class NarrowEncoder(nn.Module):
    """The encoder of the reference numbers: units 1, 1, 2, 1 with channels 4, 8, 12, 16, and 2, 2, 4 heads."""

    def __init__(self):
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.PReLU(4))
        stages, width = [], 4
        for channels, count in ((4, 1), (8, 1), (12, 2), (16, 1)):
            units = [
                Unit(width if k == 0 else channels, channels, 2 if k == 0 else 1, reduction=2) for k in range(count)
            ]
            stages.append(nn.Sequential(*units))
            width = channels
        self.backbone_stages = nn.ModuleList(stages)
        self.pyramid = StylePyramid((8, 12, 16), (64, 32, 16), 8, 16, slope=0.01, align_corners=True)
        self.pyramid.heads = nn.ModuleList()
        sides = [16] * 2 + [32] * 2 + [64] * 4
        self.latent_heads = nn.ModuleList(StyleHead(16, side, 16, 0.01) for side in sides)
        config = of_kind("padding", padding=PaddingHeadConfig(4, "separate"), width=1.0)
        G = small_generator(32, channel_base=1024)
        self.spatial = PaddingHead(config, G, 16, (16, 32, 64))
        self.spatial.units = nn.Sequential(*(Unit(16, 16, 1, reduction=2) for _ in range(2)))

    def forward(self, images, w_avg):
        x = self.input_layer(images)
        maps = []
        for stage in self.backbone_stages:
            x = stage(x)
            maps.append(x)
        levels = self.pyramid.levels(maps[1:])
        level_of_head = [0] * 2 + [1] * 2 + [2] * 4
        codes = [head(levels[level]) for head, level in zip(self.latent_heads, level_of_head, strict=True)]
        return self.spatial.add_to(Latents(w_avg + torch.stack(codes, 1)), levels), levels


def ours(name):
    """Return this program's name of a tensor of the reference encoder."""
    for old, new in (
        ("fpn.lateral_layers.0", "pyramid.laterals.1"),
        ("fpn.lateral_layers.1", "pyramid.laterals.0"),
        ("padding_extractor", "spatial.units"),
        ("padding_modulation_heads", "spatial.heads"),
    ):
        name = name.replace(old, new)
    return name.replace("convs", "halvings") if name.startswith("latent_heads") else name


@pytest.fixture
def narrow(golden):
    arrays, _ = golden("padinv_encoder")
    encoder = NarrowEncoder()
    state = {ours(name.removeprefix("state/")): torch.tensor(arrays[name]) for name in arrays.files if "state/" in name}
    encoder.load_state_dict(state | {"spatial.const": torch.zeros(16, 4, 4)})
    return arrays, encoder.eval()


def test_the_published_encoder_of_paddings_equals_the_reference(narrow):
    arrays, encoder = narrow
    images = (torch.tensor(arrays["images"]).float() / 127.5 - 1).requires_grad_()
    latents, levels = encoder(images, torch.tensor(arrays["w_avg"]))
    assert_close(latents.ws, arrays["ws"], rtol=1e-4)
    for level, name, factor in zip(levels, ("fpn16", "fpn32", "fpn64"), (1, 2, 4), strict=True):
        assert_close(F.avg_pool2d(level, factor), arrays[name], rtol=1e-4, what=name)
    padding = latents.padding
    assert_close(padding.const, arrays["const"], rtol=1e-4)
    for r in (4, 8, 16):
        assert_close(padding.rings[f"b{r}.conv1"], ring_of(torch.tensor(arrays[f"map{r}"])), rtol=1e-4)
    ring = padding.rings["b32.conv1"]  # rows 0 and -1 first, then columns 0 and -1
    sides = ring[..., 34:-34].unflatten(2, (32, 2))
    expected = torch.cat([ring[..., :34], ring[..., -34:], sides[..., 0], sides[..., 1]], dim=2)
    assert_close(expected, arrays["ring32"], rtol=1e-4)
    total = (latents.ws * torch.tensor(arrays["g_ws"])).sum() + (padding.const * torch.tensor(arrays["g_const"])).sum()
    whole = crop(encoder.spatial.heads[1](encoder.spatial.enlarge(levels)), 10)  # the map whose ring counts
    assert_close(whole, arrays["map8"], rtol=1e-4)
    total = total + (whole * torch.tensor(arrays["g_map8"])).sum()
    (dx,) = torch.autograd.grad(total, images)
    assert_close(F.avg_pool2d(dx, 8), arrays["dx_pooled"], rtol=1e-3)


def test_the_extractor_in_training_equals_the_reference(golden):
    arrays, _ = golden("padinv_extractor_train")
    units = nn.Sequential(*(Unit(16, 16, 1, reduction=2) for _ in range(2)))
    x = torch.tensor(arrays["x"]).requires_grad_()
    state = {name.removeprefix("state/"): torch.tensor(arrays[name]) for name in arrays.files if "state/" in name}
    units.load_state_dict(units.state_dict() | state)
    y = units.train()(x)
    assert_close(y, arrays["y"], rtol=1e-4)
    (dx,) = torch.autograd.grad((y * torch.tensor(arrays["g"])).sum(), x)
    assert_close(dx, arrays["dx"], rtol=1e-3)


def test_the_length_of_w_equals_the_reference(golden):
    arrays, _ = golden("padinv_losses")
    ws = torch.tensor(arrays["ws"]).requires_grad_()
    length = w_length(ws, torch.tensor(arrays["w_avg"])).mean()
    assert_close(length, arrays["w_norm"])
    assert_close(torch.autograd.grad(length, ws)[0], arrays["dws"], rtol=1e-4)


# What follows is asked of every kind.

KIND_NAMES = sorted(KIND_PARTS)


@pytest.fixture(params=KIND_NAMES)
def kind(request):
    return request.param


@pytest.fixture(params=["plain", "qc"])
def G(request):  # noqa: N802 - the field's name
    torch.manual_seed(1)
    G = small_generator(32) if request.param == "plain" else quality_generator("paper+", resolution=32)
    return G.eval().requires_grad_(False)


def test_every_file_of_a_kind_has_a_name_and_fields():
    assert {name.replace("-", "_") for name in KIND_PARTS} == set(KINDS.names())
    assert all(isinstance(kind_module(name).DEFAULTS, dict) for name in KIND_PARTS)


@pytest.mark.parametrize("side", [32, 64])
def test_codes_fit_the_generator(G, kind, side):
    latents = build_encoder(of_kind(kind, input_size=64), G).eval()(torch.randn(2, 3, side, side))
    assert G.misfit({name: value.shape[1:] for name, value in latents.tensors().items()}) is None
    assert synthesize(G, latents).shape == (2, 3, 32, 32)
    fields = {"psp": set(), "padding": {"padding"}, "feature-style": {"features"}}[kind]
    assert {name.partition(".")[0] for name in latents.tensors()} - {"ws", "q"} == fields


def test_an_untrained_head_gives_what_the_generator_has(G):
    images = torch.randn(2, 3, 32, 32)
    padded = build_encoder(of_kind("padding"), G).eval()(images)
    assert torch.equal(synthesize(G, padded), synthesize(G, padded.bare()))
    featured = build_encoder(of_kind("feature-style"), G).eval()(images)
    assert_close(featured.features.values[0], featured.features.values[1])
    ws = G.mapping(torch.randn(512, G.z_dim), None)
    own = G.synthesis.layer_output(Latents(ws), stored_noise(G, 512), 3)
    assert (own.mean(0) - featured.features.values[0]).square().mean() < 0.02 * own.var(0).mean()
    spread = build_encoder(of_kind("feature-style"), G).spatial.spread
    assert_close(own.sub(own.mean(0)).square().mean((0, 2, 3)).sqrt(), spread.flatten(), rtol=0.1)


@pytest.mark.parametrize("heads", ["residual", "separate", "shared"])
def test_paddings_are_of_the_layers_asked_for(heads):
    G = small_generator(32, channel_base=4096, channel_max=64).eval()
    for layers in (0, 1, 4):
        config = of_kind("padding", padding=PaddingHeadConfig(layers, heads))
        padding = build_encoder(config, G).eval()(torch.randn(2, 3, 32, 32)).padding
        assert list(padding.rings) == [f"b{r}.conv1" for r in (4, 8, 16, 32)[:layers]]
        assert padding.const.shape == (2, 64, 4, 4)


def test_gradient_reaches_every_weight(G, kind):
    encoder = build_encoder(of_kind(kind), G)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.01)
    images = torch.randn(4, 3, 32, 32)
    for _ in range(2):  # heads begin as zeros, from which no gradient passes on at first
        optimizer.zero_grad()
        latents = encoder(images)
        sum((value - 1).square().sum() for value in latents.tensors().values()).backward()
        optimizer.step()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_stored_encoder_gives_the_same_codes(G, kind, tmp_path):
    network = write_network(tmp_path / "network.safetensors", G)
    encoder = build_encoder(of_kind(kind), G).eval()
    save_encoder(tmp_path / "encoder.safetensors", encoder, G, sha256(network), {"kimg": 0})
    described = read_header(tmp_path / "encoder.safetensors")["encoder"]
    assert [part for part in ("padding", "features") if part in described] == (
        [KIND_PARTS[kind]] if KIND_PARTS[kind] else []
    )
    loaded = load_encoder(tmp_path / "encoder.safetensors", network, G)
    images = torch.randn(2, 3, 32, 32)
    expected, found = encoder(images).tensors(), loaded(images).tensors()
    assert expected.keys() == found.keys() and all(torch.equal(value, found[name]) for name, value in expected.items())


def test_an_encoder_of_w_alone_is_a_beginning_for_every_kind(G, kind, tmp_path):
    network = write_network(tmp_path / "network.safetensors", G)
    psp, encoder = build_encoder(of_kind("psp"), G).eval(), build_encoder(of_kind(kind), G).eval()
    save_encoder(tmp_path / "psp.safetensors", psp, G, sha256(network), {"kimg": 0})
    images = torch.randn(2, 3, 32, 32)
    start_from(tmp_path / "psp.safetensors", encoder, G)
    assert torch.equal(encoder(images).ws, psp(images).ws)
    other = build_encoder(dataclasses.replace(of_kind(kind), heads="shared"), G)
    with pytest.raises(UserError, match=r"encoder of other sizes \(encoder.heads: separate -> shared\); train one"):
        start_from(tmp_path / "psp.safetensors", other, G)


def test_what_is_measured_of_the_network_stays_where_another_encoder_is_the_beginning(G, kind, tmp_path):
    network = write_network(tmp_path / "network.safetensors", G)
    other, encoder = build_encoder(of_kind(kind), G), build_encoder(of_kind(kind), G)
    statistics = [name for name, _ in encoder.named_buffers() if name.startswith(("w_", "spatial."))]
    measured = [name for name in statistics if "units" not in name]
    assert len(measured) == {"psp": 2, "padding": 3, "feature-style": 4}[kind]
    for name in measured:
        other.get_buffer(name).add_(1)
    save_encoder(tmp_path / "other.safetensors", other, G, sha256(network), {"kimg": 0})
    expected = {name: encoder.get_buffer(name).clone() for name in measured}
    start_from(tmp_path / "other.safetensors", encoder, G)
    assert all(torch.equal(encoder.get_buffer(name), value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"features": FeatureHeadConfig(4)},
            "encoder.features.layer is 4, inside the quality head; give one from 1 to 3",
        ),
        ({"features": FeatureHeadConfig(9)}, "encoder.features.layer is 9, not in this network; give one from 1 to 3"),
        ({"kind": "padding", "padding": PaddingHeadConfig(5)}, "encoder.padding.layers is 5, must be at most 4"),
        (
            {"kind": "padding", "padding": PaddingHeadConfig(2, "separate")},
            "encoder.width is 0.125, must be such that the pyramid has 16 channels, not 64",
        ),
    ],
)
def test_layers_that_a_network_does_not_have_are_refused(changes, message):
    G = quality_generator(resolution=32).eval()
    with pytest.raises(UserError, match=message):
        build_encoder(of_kind("feature-style", **changes) if "kind" not in changes else of_kind(**changes), G)


def config_of(**loss):
    values = dataclasses.replace(EncoderConfig(), loss=dataclasses.replace(EncoderConfig().loss, **loss))
    return dataclasses.replace(values, encoder=of_kind("feature-style"))


def test_features_of_known_codes_have_no_loss_and_the_blend_begins_with_the_own(G):
    """Features that w itself makes cost nothing; before the ramp predicted features have no effect on images."""
    config = config_of(features=1.0, own_features=1.0)
    config = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, blend_kimg=1.0))
    objective = ReconstructionObjective(config, G, NOWHERE)
    encoder = build_encoder(config.encoder, G).eval()
    ws = G.mapping(torch.randn(2, G.z_dim), None)
    known = Latents(ws, q=torch.randn(2, G.q_dim) if G.q_dim > 0 else None)
    own = G.synthesis.layer_output(known, stored_noise(G, 2), 3)
    sharp, degraded = synthesize(G, known.sharp()), synthesize(G, known)
    values = own + 0.5 * encoder.spatial.spread
    head = encoder.spatial.add_to

    def terms(features, images_seen):
        encoder.forward = lambda images: dataclasses.replace(
            head(known, encoder.content.levels(images)), features=dataclasses.replace(example, values=features)
        )
        found, _ = objective.terms(encoder, Pairs(sharp, degraded, known), images_seen)
        return {term.name: term.values for term in found}

    example = encoder(torch.zeros(2, 3, 32, 32)).features
    right = terms(own, 1000)
    assert all(right[name].abs().max() < 1e-6 for name in ("features/own", "own/features", "sharp/l2", "own/w"))
    wrong = terms(values, 1000)
    for name in ("features/own", "own/features"):
        assert_close(wrong[name], torch.full((2,), 0.25), rtol=1e-4)
    assert wrong["sharp/l2"].min() > 1e-4
    assert terms(values, 0)["sharp/l2"].max() < 1e-8
    assert 0 < terms(values, 500)["sharp/l2"].max() < wrong["sharp/l2"].max()


def test_perceptual_distances_of_several_scales_are_added():
    images, targets = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    found = []
    for scales in (1, 2, 3):
        terms = ImageTerms(dataclasses.replace(EncoderConfig().loss, scales=scales), NOWHERE, CPU)
        found.append(terms(images, targets)["perceptual"])
    halves = ImageTerms(EncoderConfig().loss, NOWHERE, CPU)(*(F.avg_pool2d(x, 2) for x in (images, targets)))
    assert_close(found[1], found[0] + halves["perceptual"], rtol=1e-4)
    assert (found[2] > found[1]).all()


def test_the_adversarial_term_and_the_penalty_equal_the_reference(golden):
    arrays, _ = golden("padinv_losses")
    assert_close(generator_loss(torch.tensor(arrays["scores"])).mean(), arrays["adv_encoder"])
    images = torch.tensor(arrays["gp_images"]).requires_grad_()
    scores = (images.square() * torch.linspace(0, 1, 8)).sum((1, 2, 3))
    assert_close(scores, arrays["gp_scores"], rtol=1e-4)
    assert_close(r1_penalty(scores, images).mean(), arrays["gp"], rtol=1e-4)


def test_an_adversary_learns_to_tell_images_apart_and_teaches_the_encoder_alone():
    G = small_generator(32).eval()
    adversary = Adversary(dataclasses.replace(config_of(adversarial=0.05), batch=6), G)
    photos, images = torch.rand(6, 3, 32, 32), -torch.rand(6, 3, 32, 32).requires_grad_()
    (gradient,) = torch.autograd.grad(adversary.term(images).sum(), images)
    assert gradient.any() and not any(p.requires_grad for p in adversary.D.parameters())
    first = adversary.step(photos, images)
    assert set(first) == {"D", "r1_penalty"}
    adversary.optimizer.param_groups[0]["lr"] = 0.01
    later = [adversary.step(photos, images) for _ in range(16)]
    assert [set(found) for found in later] == [{"D"}] * 15 + [{"D", "r1_penalty"}]
    assert later[-1]["D"].mean() < first["D"].mean()
    other = Adversary(dataclasses.replace(config_of(adversarial=0.05), batch=6), G)
    other.load_state_dict(adversary.state_dict())
    assert torch.equal(other.term(images), adversary.term(images)) and other.steps == 17


def test_identity_is_a_cosine_of_embeddings(monkeypatch):
    """By a stand-in for ArcFace, whose embedding is the mean colour."""
    embedder = Detector("stand-in", "none", features=lambda images: images.mean((2, 3)))
    monkeypatch.setattr(losses, "load_detector", lambda name, weights, device: embedder)
    side = dataclasses.replace(EncoderConfig().loss.sharp, perceptual=0.0, identity=0.1)
    config = dataclasses.replace(EncoderConfig().loss, sharp=side, degraded=side)
    images, targets = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16)
    found = ImageTerms(config, NOWHERE, CPU)(images, targets)
    levels = [to_levels(x, shift_first=True).mean((2, 3)) for x in (images, targets)]
    assert list(found) == ["l2", "identity"]
    assert_close(found["identity"], 1 - F.cosine_similarity(*levels))


def test_errors_of_features_are_in_units_of_their_spread():
    spread = torch.tensor([1.0, 2.0]).view(2, 1, 1)
    values = torch.full((3, 2, 4, 4), 4.0)
    assert_close(features_error(values, torch.zeros_like(values), spread), torch.full((3,), 10.0))


NETWORK_FLAGS = ["--data=photos", "--outdir=out", "--dry-run"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--feature-layer=4"], "encoder.features.layer has no effect with --kind=psp; leave it out, or give --kind="),
        (
            ["--kind=feature-style", "--padded-layers=2"],
            "encoder.padding.layers has no effect with --kind=feature-style",
        ),
        (["--kind=padding", "--set=loss.features=1"], "loss.features has no effect with --kind=padding"),
        (["--kind=padding", "--padded-layers=6"], "encoder.padding.layers is 6, must be from 0 to 5"),
        (["--kind=style"], "'style' is not one of"),
    ],
)
def test_flags_of_another_kind_are_refused(flags, message, tmp_path):
    network = write_network(tmp_path / "network.safetensors", quality_generator(resolution=32))
    result = CliRunner().invoke(train_encoder_command, [f"--network={network}", *NETWORK_FLAGS, *flags])
    assert result.exit_code == (2 if "is not one of" in message else 1) and message in result.output


def test_kinds_have_defaults_that_fit_the_network(tmp_path):
    network = write_network(tmp_path / "network.safetensors", quality_generator(resolution=32))

    def resolved(*flags):
        return json.loads(
            CliRunner().invoke(train_encoder_command, [f"--network={network}", *NETWORK_FLAGS, *flags]).output
        )

    config = resolved("--kind=feature-style")
    assert config["encoder"]["features"]["layer"] == 3 and config["loss"]["features"] == 0.01
    ablated = resolved("--kind=feature-style", "--ablation=A", "--set=loss.sharp.perceptual=0.7")
    assert ablated["loss"]["sharp"] == config["loss"]["sharp"] | {"l2": 0, "perceptual": 0.7}
    assert ablated["loss"]["degraded"] == config["loss"]["degraded"] | {"l2": 0, "perceptual": 0.2}
    assert resolved("--kind=padding", "--padded-layers=2")["encoder"]["padding"]["layers"] == 2
    assert resolved()["encoder"]["kind"] == "psp" and resolved()["loss"]["features"] == 0


@pytest.mark.parametrize("kind", ["padding", "feature-style"])
def test_ablations_change_the_training_each_in_its_own_way(kind):
    config = with_overrides(EncoderConfig(generator="G", encoder=of_kind(kind)), kind_module(kind).BASELINE)
    names = list(kind_module(kind).ABLATIONS)
    sides = {name: dataclasses.replace(getattr(config.loss, name), identity_layers=0.1, parsing=0.1) for name in SIDES}
    faces = dataclasses.replace(config, loss=dataclasses.replace(config.loss, **sides))
    found = [to_dict(ablated(faces, name)) for name in names]
    assert all(a != b for a, b in itertools.combinations(found, 2))
    assert sum(each["encoder"]["kind"] == "psp" for each in found) == 1
    with pytest.raises(UserError, match=f"unknown ablation of --kind={kind} 'Z'"):
        ablated(config, "Z")


def test_an_ablation_of_a_term_without_weight_is_refused():
    config = EncoderConfig(generator="G", encoder=of_kind("feature-style"))
    with pytest.raises(UserError, match="--ablation=B has no effect here, as what it leaves out has no weight"):
        ablated(config, "B")
    assert ablated(config, "E").encoder.kind == "psp" and ablated(config, "F").data.own_share == 0
    with pytest.raises(UserError, match="--kind=psp has no ablations, so no A; give --kind=padding or --kind=feat"):
        ablated(EncoderConfig(generator="G"), "A")
