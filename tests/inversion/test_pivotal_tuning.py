"""Pivotal tuning: what moves, what stays, and what is stored of it."""

from dataclasses import replace

import pytest
import torch

from dnnlib.errors import UserError
from dnnlib.files import sha256
from generation.rendering import render, synthesize
from generation.sampling import ws_of_seeds
from inversion.locality import LOCALITIES, CodesInBlocks
from inversion.perceptual import default_perceptual
from inversion.pivotal_tuning import tune
from inversion.tuned_weights import Inversion, TunedWeights, apply, load_inversion, save_inversion
from inversion.tuning_options import TUNINGS, TuningOptions
from networks.files import load
from networks.latents import Features, Latents
from tests.support.codes import full_codes, same_bits
from tests.support.networks import quality_generator, small_generator, write_network
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import save_tensors

PIXELS_ONLY = {"perceptual_weight": 0.0, "pixel_weight": 1.0, "twin_weight": 0.0, "locality_weight": 0.0}


def photos(G, count=2):
    """Return codes, and targets that differ a little from their images."""
    latents = Latents(ws_of_seeds(G, range(count)), q=torch.randn(count, G.q_dim) if G.q_dim > 0 else None)
    images = synthesize(G, latents)
    return latents, (images + 0.3 * torch.randn_like(images)).clamp(-1, 1)


def frozen(G):
    return G.eval().requires_grad_(False)


def reconstruction_error(G, latents, targets):
    return (synthesize(G, latents) - targets).square().mean()


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_frozen_and_tuned_blocks_make_the_networks_images(variant, first):
    """Wherever the cut is: before, at and behind the first block that hears of q."""
    G = frozen(quality_generator(variant))
    latents, _ = photos(G)
    count = G.synthesis.num_blocks
    codes = CodesInBlocks(G, *G.synthesis.parts(count - first), latents)
    sharp, degraded = render(G, latents, [None, latents.q])
    assert_close(codes.originals, torch.cat([sharp, degraded]))


@pytest.mark.parametrize("first", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_cut_anywhere_paddings_and_features_take_part(first, layer):
    G = frozen(quality_generator(resolution=32))
    codes = full_codes(G, layer=layer)
    cut = CodesInBlocks(G, *G.synthesis.parts(G.synthesis.num_blocks - first), codes)
    assert_close(cut.originals, torch.cat(render(G, codes, [None, codes.q])), rtol=1e-5)


@pytest.mark.parametrize("blocks", [1, 3, None])
def test_tuning_shows_the_photo_with_its_paddings_and_features(blocks, monkeypatch):
    """Of blocks of the head as of the trunk; what the tuned network shows is what was tuned."""
    G = frozen(quality_generator(resolution=32))
    codes = full_codes(G, 1)
    target = (synthesize(G, codes) + 0.3 * torch.randn(1, 3, 32, 32)).clamp(-1, 1)
    seen, images = [], CodesInBlocks.images
    monkeypatch.setattr(CodesInBlocks, "images", lambda *args: seen.append(images(*args)) or seen[-1])
    options = TuningOptions(steps=6, blocks=blocks, lr=1e-3, stop_psnr=None, **PIXELS_ONLY)
    [tuned] = tune(G, codes, target, options)
    assert_close(seen[0][-1:], synthesize(G, codes), rtol=1e-4)
    assert reconstruction_error(apply(G, tuned), codes, target) < 0.95 * reconstruction_error(G, codes, target)
    [before] = tune(G, codes, target, replace(options, steps=5))
    assert_close(synthesize(apply(G, before), codes), seen[5][-1:], rtol=1e-2)  # stored in half precision


@pytest.mark.parametrize("locality", LOCALITIES)
def test_codes_of_locality_are_plain_images(locality):
    G = frozen(quality_generator(resolution=32))
    codes = full_codes(G, 1)
    options = TuningOptions(locality=locality)
    of_photo, of_bare = (
        LOCALITIES[locality](options, G, *G.synthesis.parts(None), latents, default_perceptual(torch.device("cpu")))
        for latents in (codes, codes.bare())
    )
    found = of_photo.codes(0)
    assert found.content.padding is None and found.content.features is None and torch.equal(found.q, codes.q)
    assert torch.equal(found.originals, of_bare.codes(0).originals)


@pytest.mark.parametrize("blocks", [1, 2, None])
def test_tunes_the_last_blocks_alone(blocks):
    G = frozen(quality_generator())
    before = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    latents, targets = photos(G)
    options = TuningOptions(steps=5, blocks=blocks, lr=1e-2, **PIXELS_ONLY)
    for row, tuned in enumerate(tune(G, latents, targets, options)):
        moved = {name.split(".")[1] for name in tuned.differences}
        assert moved == {1: {"b16"}, 2: {"b8", "b16"}, None: {"b4", "b8", "b16"}}[blocks]
        one = latents[row : row + 1], targets[row : row + 1]
        assert reconstruction_error(apply(G, tuned), *one) < 0.9 * reconstruction_error(G, *one)
    assert all(torch.equal(tensor, before[name]) for name, tensor in G.state_dict().items())


def test_first_step_is_that_of_adam_on_the_whole_network():
    """Nothing is lost by freezing: Adam's first step is lr times the sign of the gradient."""
    G = frozen(quality_generator())
    latents, targets = photos(G, 1)
    options = TuningOptions(steps=1, lr=0.125, stop_psnr=None, blocks=None, **PIXELS_ONLY)
    (tuned,) = tune(G, latents, targets, options)
    whole = quality_generator()
    whole.load_state_dict(G.state_dict())
    reconstruction_error(whole, latents, targets).backward()
    gradients = {name: p.grad for name, p in whole.synthesis.named_parameters() if p.grad is not None}
    assert len(tuned.differences) > 10
    for name, difference in tuned.differences.items():
        gradient = gradients[name.removeprefix("synthesis.")]
        clear = gradient.abs() > 1e-5
        assert_close(difference.float()[clear], -0.125 * gradient.sign()[clear], rtol=5e-3, what=name)


def test_photos_do_not_depend_on_their_group():
    G = frozen(quality_generator())
    latents, targets = photos(G, 3)
    together, alone = (
        tune(G, latents, targets, TuningOptions(steps=3, lr=1e-3, photos_at_once=count)) for count in (2, 1)
    )
    for row, (a, b) in enumerate(zip(together, alone, strict=True)):
        one = latents[row : row + 1]
        assert_close(synthesize(apply(G, a), one), synthesize(apply(G, b), one), rtol=1e-3)


def test_works_without_a_quality_code():
    G = frozen(small_generator())
    latents, targets = photos(G)
    (tuned, _) = tune(G, latents, targets, TuningOptions(steps=12, lr=1e-3, **PIXELS_ONLY))
    one = latents[:1], targets[:1]
    assert reconstruction_error(apply(G, tuned), *one) < 0.9 * reconstruction_error(G, *one)


def test_stops_when_the_reconstruction_is_good_enough():
    """A photo that is its own reconstruction needs no step; the other goes on, and all steps are counted."""
    G = frozen(quality_generator())
    latents, targets = photos(G)
    targets[0] = synthesize(G, latents)[0].clamp(-1, 1)
    counts = []
    done, tuned = tune(G, latents, targets, TuningOptions(steps=3, stop_psnr=40.0), on_step=counts.append)
    assert not done.differences and tuned.differences
    assert counts == [3, 4, 5, 6]


def test_terms_keep_what_they_are_for():
    """Degraded minus sharp image; images at other codes."""
    G = frozen(quality_generator())
    latents, targets = photos(G, 1)
    others = Latents(latents.ws.lerp(ws_of_seeds(G, range(50, 58)), 0.5), q=latents.q.expand(8, -1))
    kept = {
        "twin_weight": lambda network: synthesize(network, latents) - synthesize(network, latents.sharp()),
        "locality_weight": lambda network: synthesize(network, others),
    }

    def tuned(**weights):
        settings = {**PIXELS_ONLY, **weights}
        return apply(G, tune(G, latents, targets, TuningOptions(steps=12, lr=1e-2, locality_interval=1, **settings))[0])

    free = tuned()
    for weight, images in kept.items():
        changes = [(images(network) - images(G)).square().mean() for network in (free, tuned(**{weight: 100.0}))]
        assert changes[1] < 0.5 * changes[0], weight


def test_tuned_generator_shares_what_did_not_move():
    G = frozen(quality_generator())
    name = "synthesis.b16.conv0.weight"
    difference = torch.full_like(G.get_parameter(name), 0.25).half()
    other = apply(G, TunedWeights({name: difference}))
    assert_close(other.get_parameter(name), G.get_parameter(name) + 0.25)
    for own, (key, parameter) in zip(other.parameters(), G.named_parameters(), strict=True):
        assert (own is parameter) == (key != name)
    assert all(a is b for a, b in zip(other.buffers(), G.buffers(), strict=True))


def test_half_precision_costs_less_than_half_a_gray_level():
    G = frozen(quality_generator())
    moved = {name: p + 0.02 * torch.randn_like(p) for name, p in G.named_parameters() if name.startswith("synthesis")}
    exact = quality_generator()
    exact.load_state_dict({**G.state_dict(), **moved})
    latents, _ = photos(G, 4)
    stored = synthesize(apply(G, TunedWeights.between(G, moved)), latents)
    assert (stored - synthesize(exact, latents)).abs().max() * 127.5 < 0.5


def test_differences_of_another_network():
    with pytest.raises(UserError, match="no synthesis.b32.conv0.weight"):
        apply(quality_generator(), TunedWeights({"synthesis.b32.conv0.weight": torch.zeros(1)}))


@pytest.fixture
def network(network_files):
    return network_files / "qc.safetensors"


@pytest.mark.parametrize("is_tuned", [True, False])
def test_inversion_files(tmp_path, network, is_tuned):
    G = load(network, torch.device("cpu"))
    latents, targets = photos(G, 1)
    tuned = tune(G, latents, targets, TuningOptions(steps=2))[0] if is_tuned else None
    save_inversion(tmp_path / "a.safetensors", Inversion(latents, tuned, "cat.png", {"steps": 2}), network)
    found = load_inversion(tmp_path / "a.safetensors", network)
    assert torch.equal(found.latents.ws, latents.ws) and torch.equal(found.latents.q, latents.q)
    assert (found.photo, found.settings) == ("cat.png", {"steps": 2})
    if not is_tuned:
        assert found.tuned is None
        return
    assert found.tuned.differences.keys() == tuned.differences.keys()
    assert torch.equal(synthesize(apply(G, found.tuned), latents), synthesize(apply(G, tuned), latents))


def test_inversion_files_of_something_else(tmp_path, network):
    latents = Latents(torch.zeros(1, 5, 16))
    save_inversion(tmp_path / "a.safetensors", Inversion(latents), network)
    with pytest.raises(UserError, match="made with another network than"):
        load_inversion(tmp_path / "a.safetensors", network.with_name("plain.safetensors"))
    with pytest.raises(UserError, match="is no inversion"):
        load_inversion(network, network)
    save_tensors(tmp_path / "b.safetensors", {}, {"kind": "inversion", "network": sha256(network)})
    with pytest.raises(UserError, match="b.safetensors cannot be read"):
        load_inversion(tmp_path / "b.safetensors", network)


@pytest.mark.parametrize("layer", [2, 3])
def test_inversion_files_keep_paddings_and_features(tmp_path, layer):
    G = quality_generator(resolution=32)
    network = write_network(tmp_path / "qc.safetensors", G)
    seen = replace(full_codes(G, 1), features=Features(torch.ones(1, 16, 8, 8), 3, in_image=True))
    for codes in (full_codes(G, 1, layer), seen):
        save_inversion(tmp_path / "a.safetensors", Inversion(codes), network)
        assert same_bits(load_inversion(tmp_path / "a.safetensors", network, G).latents, codes)


WS = torch.zeros(1, 6, 16)
DAMAGED = {
    "b.safetensors holds ws of \\[6, 8\\], not \\[6, 16\\]; invert the photo again$": {"ws": torch.zeros(1, 6, 8)},
    "b.safetensors holds q of \\[5\\], not \\[4\\]; invert": {"ws": WS, "q": torch.zeros(1, 5)},
    "holds padding.b64.conv1, which this network has no place for; invert": {"padding.b64.conv1": torch.zeros(1, 2, 3)},
    "holds padding.const of \\[16, 4\\], not \\[16, 4, 4\\]; invert": {
        "ws": WS,
        "padding.const": torch.zeros(1, 16, 4),
    },
    "holds features.5, which this network has no place for": {"features.5": torch.zeros(1, 16, 16, 16)},
    "b.safetensors cannot be read: .*; invert the photo again$": {"features.x": torch.zeros(1, 16, 4, 4)},
    "b.safetensors cannot be read: .*unpack.*; invert": {"features.1": torch.zeros(1), "features.2": torch.zeros(1)},
    "b.safetensors cannot be read: ws has shape \\[1, 16\\]": {"ws": torch.zeros(1, 16)},
    "b.safetensors cannot be read: q has shape \\[4\\]": {"q": torch.zeros(4)},
    "b.safetensors cannot be read: padding.const has shape \\[2, 16, 4, 4\\], not 1 rows": {
        "padding.const": torch.zeros(2, 16, 4, 4)
    },
    "b.safetensors cannot be read: padding.const has shape \\[\\], not 1 rows": {"padding.const": torch.zeros([])},
    "b.safetensors cannot be read: ws has torch.int64 for numbers": {"ws": torch.zeros(1, 6, 16, dtype=torch.int64)},
    "b.safetensors cannot be read: 2 images in one inversion": {"ws": torch.zeros(2, 6, 16)},
}


@pytest.mark.parametrize("sentence", DAMAGED)
def test_damaged_codes_end_in_a_sentence(tmp_path, network, sentence):
    header = {"kind": "inversion", "network": sha256(network), "is_tuned": False, "photo": "", "settings": {}}
    save_tensors(tmp_path / "b.safetensors", {"ws": WS} | DAMAGED[sentence], header)
    with pytest.raises(UserError, match=sentence):
        load_inversion(tmp_path / "b.safetensors", network, load(network, torch.device("cpu")))


@pytest.mark.parametrize("change", [{"steps": 0}, {"blocks": 0}, {"twin_weight": -1.0}, {"photos_at_once": 0}])
def test_refuses_options(change):
    with pytest.raises(UserError, match=f"tuning.{next(iter(change))} is"):
        TuningOptions(**change)


def test_the_balls_codes_are_new_each_time_and_equally_far():
    """w_r = w + alpha (w_z - w) / |w_z - w| (Roich et al. 2021, Eq. 5), with the photo's q."""
    G = frozen(quality_generator())
    latents, _ = photos(G, 1)
    options = TuningOptions(locality="ball", locality_distance=3.0)
    term = LOCALITIES[options.locality](
        options, G, *G.synthesis.parts(None), latents, default_perceptual(torch.device("cpu"))
    )
    ws = [term.codes(number).content.ws for number in range(3)]
    for one in ws:
        assert_close((one - latents.ws).norm(dim=2), torch.full([1, G.num_ws], 3.0))
        assert torch.equal(term.codes(0).q, latents.q)
    assert not torch.equal(ws[0], ws[1]) and torch.equal(ws[0], term.codes(0).content.ws)
    random = ws_of_seeds(G, range(200))
    direction = (ws[0] - latents.ws)[0, 0]
    assert ((random - latents.ws)[:, 0] @ direction).mean() > 0


def test_the_ball_keeps_images_around():
    G = frozen(quality_generator())
    latents, targets = photos(G, 1)
    others = Latents(latents.ws.lerp(ws_of_seeds(G, range(50, 58)), 0.2), q=latents.q.expand(8, -1))

    def change(**weights):
        settings = {**PIXELS_ONLY, "locality": "ball", "locality_interval": 1, "locality_distance": 1.0, **weights}
        (tuned,) = tune(G, latents, targets, TuningOptions(steps=12, lr=1e-2, **settings))
        return (synthesize(apply(G, tuned), others) - synthesize(G, others)).square().mean()

    free = change()
    assert change(locality_weight=30.0) < 0.7 * free
    assert change(locality_perceptual_weight=30.0) < 0.7 * free


def test_stops_at_a_perceptual_distance():
    G = frozen(quality_generator())
    latents, targets = photos(G, 1)
    perceptual = default_perceptual(torch.device("cpu"))
    start = perceptual(synthesize(G, latents), targets).item()
    for bound, steps in ((1.01 * start, 2), (0.5 * start, 4)):  # the distance is known after the first step
        counts = []
        options = TuningOptions(steps=4, lr=1e-6, stop_psnr=None, stop_perceptual=bound)
        (tuned,) = tune(G, latents, targets, options, on_step=counts.append)
        largest = max(difference.abs().max() for difference in tuned.differences.values())
        assert counts[-1] == 4 and len(counts) == steps and largest > 0


def test_the_sharp_twin_comes_to_the_prior():
    G = frozen(quality_generator())
    latents, targets = photos(G, 1)
    prior = synthesize(G, latents.sharp()).flip(3)
    distances = []
    for strength in (0.0, 1.0):
        options = TuningOptions(steps=12, lr=1e-2, **PIXELS_ONLY, prior_weight=strength)
        (tuned,) = tune(G, latents, targets, options, priors=prior)
        distances.append((synthesize(apply(G, tuned), latents.sharp()) - prior).square().mean())
    assert distances[1] < 0.8 * distances[0]


def test_published_settings_are_those_of_the_paper():
    paper = TUNINGS["paper"]
    assert (paper.steps, paper.lr, paper.stop_psnr, paper.stop_perceptual) == (500, 3e-4, None, 0.06)
    assert (paper.pixel_weight, paper.perceptual_weight, paper.twin_weight, paper.prior_weight) == (1, 1, 0, 0)
    assert (paper.locality, paper.locality_distance, paper.locality_interval) == ("ball", 30, 1)
    assert (paper.locality_weight, paper.locality_perceptual_weight) == (0.1, 0.1)
    assert TUNINGS["default"] == TuningOptions()
