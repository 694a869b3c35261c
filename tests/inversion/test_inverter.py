"""Photos to codes: what an inverter makes of its options, and that photos do not depend on each other."""

from dataclasses import replace

import pytest
import torch

from dnnlib.errors import UserError
from dnnlib.files import sha256
from generation.rendering import synthesize
from inversion import inverter as module
from inversion.familiarity import views_of
from inversion.inverter import InversionOptions, Inverter
from inversion.perceptual import load_perceptual
from inversion.pivotal_tuning import tune
from inversion.projector import ProjectorOptions, project
from inversion.quality.fit_quality import QualityOptions
from inversion.quality.traces import traces
from inversion.tuned_weights import Inversion, TunedWeights, load_inversion, save_inversion
from inversion.tuning_options import TuningOptions
from metrics.detectors.cifar import WEIGHTS
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.latents import Latents
from tests.support.encoders import TINY, write_encoder
from tests.support.tolerance import assert_close

CPU = torch.device("cpu")
PROJECTOR = ProjectorOptions(steps=4, q_starts=2)
TUNING = TuningOptions(steps=3, lr=1e-2, locality_codes=1, stop_psnr=None)


@pytest.fixture(name="targets")
def _targets():
    coarse = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(5)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear")


def inverter_of(network_files, name="qc", encoder=False, **options):
    values = {"projector": PROJECTOR, "tuning": TUNING, **options}
    if encoder:
        values["encoder"] = str(network_files / "encoders" / "encoder.safetensors")
    return Inverter(network_files / f"{name}.safetensors", CPU, InversionOptions(**values))


def same_codes(a, b):
    return torch.equal(a.ws, b.ws) and torch.equal(a.q, b.q)


def test_inverting_is_projecting_and_tuning(network_files, targets):
    inverter = inverter_of(network_files)
    codes = project(inverter.G, targets, PROJECTOR, inverter.perceptual)
    tuned = tune(inverter.G, codes, targets, TUNING, inverter.perceptual)
    for row, inversion in enumerate(inverter.invert(targets)):
        assert same_codes(inversion.latents, codes[row : row + 1])
        expected = tuned[row].differences
        assert inversion.tuned.differences.keys() == expected.keys() != set()
        assert all(torch.equal(value, expected[name]) for name, value in inversion.tuned.differences.items())


def test_results_of_a_photo_share_the_images_of_its_codes(network_files, targets, monkeypatch):
    """Other codes, and a generator that was tuned, have images of their own."""
    rendered = []
    monkeypatch.setattr(module, "views_of", lambda G, latents: rendered.append(G) or views_of(G, latents))
    inverter = inverter_of(network_files)
    inverter.encoder_header = {"reconstruction": {"p99": 0.0}}
    first, second = inverter.invert(targets[:2])
    inverter.encoder = object()
    rendered.clear()
    untuned = [replace(each, tuned=None) for each in (first, second)]
    for inversion, target in zip(untuned, targets[:2].split(1), strict=True):
        assert inverter.is_strange(inversion, target)
        result = inverter.restore(inversion, target)
        assert torch.equal(result.reconstruction, inverter.images(inversion, inversion.latents))
    assert rendered == [inverter.G] * 2
    assert not torch.equal(inverter.restore(second, targets[1:2]).reconstruction, result.reconstruction)
    assert len(rendered) == 3 and rendered[2] is not inverter.G


def test_a_photo_does_not_depend_on_its_batch(network_files, targets):
    """But for rounding: that of bfloat16 would turn signs of small gradients, and with them Adam's first steps."""
    inverter = inverter_of(network_files, tuning=replace(TUNING, lr=1e-3))
    inverter.perceptual = load_perceptual("cifar", WeightsDirectory(None), CPU, full_precision=True)
    together = inverter.invert(targets)
    for row, inversion in enumerate(together):
        [alone] = inverter.invert(targets[row : row + 1])
        assert_close(inversion.latents.ws, alone.latents.ws, rtol=1e-4)
        assert_close(inversion.latents.q, alone.latents.q, rtol=1e-4)
        images = [inverter.images(each, each.latents) for each in (inversion, alone)]
        assert_close(*images, rtol=2e-3)  # Adam makes steps of full length from gradients that are only rounding


def test_each_photo_is_shown_by_its_own_weights(network_files, targets):
    inverter = inverter_of(network_files)
    before = {name: tensor.clone() for name, tensor in inverter.G.state_dict().items()}
    first, second, _ = inverter.invert(targets)
    own, others = inverter.images(first, first.latents), inverter.images(second, first.latents)
    assert (own - others).abs().max() > 1e-3
    with inverter.tuned(first) as G:
        assert torch.equal(synthesize(G, first.latents).clamp(-1, 1), own)
    assert own.abs().max() <= 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in inverter.G.state_dict().items())


def test_tuning_brings_the_image_closer(network_files, targets):
    tuned = inverter_of(network_files, tuning=TuningOptions(steps=15, lr=1e-2, locality_weight=0.0, twin_weight=0.0))
    [inversion] = tuned.invert(targets[:1])
    bare = synthesize(tuned.G, inversion.latents).clamp(-1, 1)
    error = [(image - targets[:1]).square().mean() for image in (tuned.images(inversion, inversion.latents), bare)]
    assert error[0] < 0.9 * error[1]


@pytest.mark.parametrize("tuning", [TUNING, None])
def test_what_is_stored_gives_the_same_images(network_files, targets, tmp_path, tuning):
    inverter = inverter_of(network_files, tuning=tuning)
    for inversion in inverter.invert(targets):
        save_inversion(tmp_path / "codes.safetensors", inversion, inverter.network)
        loaded = load_inversion(tmp_path / "codes.safetensors", inverter.network)
        assert (loaded.tuned is None) == (tuning is None)
        for latents in (inversion.latents, inversion.latents.sharp()):
            assert torch.equal(inverter.images(loaded, latents), inverter.images(inversion, latents))


def test_listeners_hear_every_step(network_files, targets):
    heard = []
    inverter_of(network_files).invert(targets, lambda *step: heard.append(step))
    assert [step for step in heard if step[0] == "projector"] == [("projector", n, 4) for n in range(1, 5)]
    assert [step for step in heard if step[0] == "tuning"] == [("tuning", n, 9) for n in (3, 6, 9)]


# Encoders


def test_an_encoder_alone_gives_its_codes(network_files, targets):
    inverter = inverter_of(network_files, encoder=True, projector=None, tuning=None)
    expected = inverter.encoder(targets)
    for row, inversion in enumerate(inverter.invert(targets)):
        assert same_codes(inversion.latents, expected[row : row + 1])
        assert inversion.tuned is None and not inversion.latents.ws.requires_grad


def test_the_projector_refines_the_encoders_codes(network_files, targets):
    inverter = inverter_of(network_files, encoder=True, tuning=None)
    start = inverter.encoder(targets)
    expected = project(inverter.G, targets, PROJECTOR, inverter.perceptual, start)
    codes = inverter.codes(targets)
    assert same_codes(codes, expected)
    assert not torch.equal(codes.ws, start.ws) and not torch.equal(codes.q, start.q)


def test_given_codes_take_the_encoders_place(network_files, targets):
    inverter = inverter_of(network_files, encoder=True, tuning=None)
    start = Latents(torch.randn(3, inverter.G.num_ws, inverter.G.w_dim), q=torch.randn(3, inverter.G.q_dim))
    expected = project(inverter.G, targets, PROJECTOR, inverter.perceptual, start)
    assert same_codes(inverter.codes(targets, start=start), expected)


def test_another_projector_leaves_the_inverter_as_it_is(network_files, targets):
    inverter = inverter_of(network_files)
    other = inverter.with_projector(ProjectorOptions(steps=1))
    assert other.G is inverter.G and inverter.options.projector == PROJECTOR
    expected = project(inverter.G, targets, ProjectorOptions(steps=1), inverter.perceptual)
    assert same_codes(other.codes(targets), expected)


# Networks and options


def test_a_plain_network_has_codes_without_quality(network_files, targets):
    inverter = inverter_of(network_files, "plain")
    for inversion in inverter.invert(targets[:2]):
        assert inversion.latents.q is None and isinstance(inversion.tuned, TunedWeights)
        assert inverter.images(inversion, inversion.latents).shape == (1, 3, 16, 16)


def open_network(name, **options):
    return lambda folder: Inverter(folder / f"{name}.safetensors", CPU, **options)


REFUSALS = {
    "plain.safetensors is plain, without the quality code that this needs": open_network("plain", needs_quality=True),
    "classes.safetensors has classes, and photos are inverted into networks with": open_network("classes"),
    "encoder.safetensors is an encoder, not a network": open_network("encoders/encoder"),
    "absent.safetensors does not exist": open_network("absent"),
    "encoder.safetensors was trained for another network than .*other": lambda folder: inverter_of(
        folder, "other", encoder=True
    ),
    "without an encoder the projector must search; give --encoder=FILE or": lambda _: InversionOptions(projector=None),
    r"unknown perceptual distance 'lpips_vg'; did you mean 'lpips_vgg'\?": lambda folder: inverter_of(
        folder, perceptual="lpips_vg"
    ),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusals(network_files, sentence):
    with pytest.raises(UserError, match=sentence):
        REFUSALS[sentence](network_files)


def test_an_encoder_needs_no_projector():
    assert InversionOptions(encoder="encoder.safetensors", projector=None).projector is None


def test_settings_tell_all_that_a_result_depends_on(network_files):
    different = [
        inverter_of(network_files),
        inverter_of(network_files, "other"),
        inverter_of(network_files, encoder=True),
        inverter_of(network_files, tuning=None),
        inverter_of(network_files, projector=ProjectorOptions(steps=5)),
    ]
    settings = [inverter.settings for inverter in different]
    assert all(settings.count(each) == 1 for each in settings)
    assert settings[0]["network"] == sha256(network_files / "qc.safetensors")
    assert settings[2]["encoder"] == sha256(network_files / "encoders" / "encoder.safetensors")
    assert settings[0]["perceptual_sha256"] == {"cifar10.safetensors": sha256(WEIGHTS)}
    assert inverter_of(network_files).settings == settings[0]


def test_where_an_encoder_tells_no_quality_it_is_fitted(network_files, tmp_path):
    G, network = load(network_files / "qc.safetensors", CPU), network_files / "qc.safetensors"
    write_encoder(tmp_path / "w.safetensors", G, network, replace(TINY, q_width=0))
    inverter = Inverter(network, CPU, InversionOptions(str(tmp_path / "w.safetensors"), projector=None, tuning=None))
    ws = inverter.encoder(torch.zeros(2, 3, 16, 16)).ws
    target = synthesize(G, Latents(ws, q=0.3 * torch.randn(2, G.q_dim)))
    steps = []
    inverter.encoder.forward = lambda images: Latents(ws)
    found = inverter.codes(target, lambda *step: steps.append(step))
    assert steps[-1] == ("quality", 12, 12) and torch.equal(found.ws, ws)
    before, after = ((traces(synthesize(G, codes)) - traces(target)).square().sum() for codes in (Latents(ws), found))
    assert after < 0.8 * before
    inverter.options = replace(inverter.options, quality=QualityOptions(compare="pixels"))
    by_pixels = inverter.codes(target)
    before, after = ((synthesize(G, codes) - target).square().mean() for codes in (Latents(ws), by_pixels))
    assert after < 0.5 * before and not torch.equal(by_pixels.q, found.q)
    inverter.options = replace(inverter.options, quality=None)
    without = inverter.codes(target)
    assert not without.q.any()  # which changes what is shown of the photo, and nothing of what is restored
    restored = [inverter.restore(Inversion(codes[:1]), target[:1]) for codes in (found, without)]
    assert torch.equal(restored[0].restored, restored[1].restored)
    assert not torch.equal(restored[0].reconstruction, restored[1].reconstruction)
