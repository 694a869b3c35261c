"""The projector finds codes, each photo for itself, and the perceptual loss is the detector's distance."""

import pytest
import torch

from dnnlib.errors import UserError
from generation.rendering import stored_noise, synthesize
from generation.sampling import ws_of_seeds
from inversion.perceptual import ReconstructionLoss, load_perceptual
from inversion.projector import ProjectorOptions, _rate, project
from inversion.whitened_space import WhitenedSpace
from metrics.detector import load_detector
from metrics.weights.directory import WeightsDirectory
from networks.generators.stylegan2 import Generator
from networks.latents import Latents
from tests.support.codes import full_codes
from tests.support.networks import SMALL, quality_generator, small_generator
from tests.support.tolerance import assert_close

NO_WEIGHTS, CPU = WeightsDirectory(None), torch.device("cpu")
PIXELS_ONLY = {"perceptual_weight": 0.0, "prior_weight": 0.0, "spread_weight": 0.0, "pixel_weight": 1.0}


def averaged(G):
    """Give a fresh network the mean that a trained one has tracked."""
    G.mapping.w_avg.copy_(ws_of_seeds(G, range(200))[:, 0].mean(0))
    return G.eval().requires_grad_(False)


def samples(G, count=3):
    latents = Latents(ws_of_seeds(G, range(count)), q=torch.randn(count, G.q_dim))
    return latents, synthesize(G, latents)


def squared_error(a, b):
    return (a - b).square().mean((1, 2, 3))


def test_w_without_whitening_is_w_in_units_of_its_deviation():
    G = averaged(small_generator())
    space, w = WhitenedSpace.unwhitened(G, 500), ws_of_seeds(G, range(300))[:, 0]
    v = space.from_w(w)
    assert_close(space.to_w(v), w)
    assert not space.from_w(G.mapping.w_avg).any()
    assert_close(v.var(0).mean().sqrt(), 1.0, rtol=0.1)
    step = space.to_w(v + 1) - w  # the same in each direction, and everywhere
    assert_close(step, step[:1, :1].expand_as(step), rtol=1e-3)
    assert not torch.equal(WhitenedSpace.of(G).from_w(w), v)


def test_the_projector_searches_without_whitening():
    G = averaged(small_generator())
    targets = synthesize(G, Latents(ws_of_seeds(G, range(2))))
    options = ProjectorOptions(space="w", whitened=False, steps=30, lr=0.1, **PIXELS_ONLY)
    found = project(G, targets, options)
    mean = synthesize(G, Latents(G.mapping.w_avg.expand(2, G.num_ws, -1)))
    assert (squared_error(synthesize(G, found), targets) < 0.5 * squared_error(mean, targets)).all()
    assert torch.equal(found.ws[:, :1].expand_as(found.ws), found.ws)


@pytest.mark.parametrize("size", [16, 96])
def test_perceptual_distance_is_the_detectors(size):
    a, b = torch.rand(2, 2, 3, size, size) * 2 - 1
    ours, theirs = (
        load_perceptual("cifar", NO_WEIGHTS, CPU, full_precision=True),
        load_detector("cifar", NO_WEIGHTS, CPU),
    )
    expected = theirs.distances((a + 1) * 127.5, (b + 1) * 127.5)
    assert_close(ours(a, b), expected)
    assert_close(load_perceptual("cifar", NO_WEIGHTS, CPU)(a, b), expected, rtol=0.02)
    loss = ReconstructionLoss(b, ours, pixel_weight=2.0, perceptual_weight=3.0)
    assert_close(loss(a), 2 * squared_error(a, b) + 3 * expected)


def test_perceptual_distance_has_the_detectors_gradient():
    a, b = torch.rand(2, 1, 3, 32, 32).requires_grad_(True)
    ours, theirs = (
        load_perceptual("cifar", NO_WEIGHTS, CPU, full_precision=True),
        load_detector("cifar", NO_WEIGHTS, CPU),
    )
    (expected,) = torch.autograd.grad(theirs.distances((a + 1) * 127.5, (b.detach() + 1) * 127.5).sum(), a)
    (gradient,) = torch.autograd.grad(ours(a, b.detach()).sum(), a)
    assert_close(gradient, expected)


def test_perceptual_distance_takes_gray_images():
    gray = torch.rand(2, 1, 16, 16)
    distance = load_perceptual("cifar", NO_WEIGHTS, CPU)
    assert_close(distance(gray, 1 - gray), distance(gray.expand(-1, 3, -1, -1), 1 - gray.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("name,message", [("cifra", "did you mean 'cifar'"), ("lpips_alex", "is not in")])
def test_perceptual_distance_that_is_not_there(name, message):
    with pytest.raises(UserError, match=message):
        load_perceptual(name, NO_WEIGHTS, CPU)


@pytest.mark.parametrize("c_dim", [0, 3])
def test_whitened_space(c_dim):
    G = Generator(SMALL, c_dim, 16, 3).eval()
    space, z = WhitenedSpace.of(G), torch.randn(4000, 16)
    w = G.mapping(z, torch.eye(3)[torch.arange(4000) % 3] if c_dim else None)[:, 0]
    assert_close(space.to_w(space.from_w(w)), w, rtol=1e-4)
    v = space.from_w(w)
    assert v.mean(0).abs().max() < 0.1
    assert (v.T @ v / len(v) - torch.eye(16)).abs().max() < 0.15


def test_learning_rate_rises_and_falls():
    rates = [_rate((step + 1) / 100, 0.1) for step in range(100)]
    assert rates.index(max(rates)) == 9 and rates[-1] == pytest.approx(0, abs=1e-9) and rates[0] < 0.11
    assert _rate(0.5, 0.0) == pytest.approx(0.5)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_projects_the_networks_own_images(space):
    G = averaged(quality_generator())
    _, images = samples(G)
    options = ProjectorOptions(steps=40, space=space, settle=0.1, **PIXELS_ONLY)
    steps = []
    found = project(G, images, options, on_step=steps.append)
    assert steps == list(range(1, 41))
    mean = synthesize(G, Latents(G.mapping.w_avg.expand(3, G.num_ws, -1)))
    assert (squared_error(synthesize(G, found), images) < 0.7 * squared_error(mean, images)).all()
    assert (found.ws == found.ws[:, :1]).all() == (space == "w")
    assert found.q.shape == (3, 4) and not found.q.requires_grad and not found.ws.requires_grad


def test_projects_with_a_plain_generator():
    G = averaged(small_generator())
    images = G.synthesis(ws_of_seeds(G, [1, 2]), noise_mode="const")
    found = project(G, images, ProjectorOptions(steps=30, **PIXELS_ONLY))
    mean = synthesize(G, Latents(G.mapping.w_avg.expand(2, G.num_ws, -1)))
    assert found.q is None
    assert (squared_error(synthesize(G, found), images) < 0.7 * squared_error(mean, images)).all()


def test_a_photo_does_not_depend_on_its_batch():
    G = averaged(quality_generator())
    _, images = samples(G)
    options = ProjectorOptions(steps=6, q_starts=3)
    together, alone = project(G, images, options), project(G, images[1:2], options)
    assert_close(alone.ws, together.ws[1:2], rtol=1e-3)
    assert_close(alone.q, together.q[1:2], rtol=1e-3)


def test_starts_at_given_codes():
    G = averaged(quality_generator())
    latents, images = samples(G)
    still = ProjectorOptions(steps=1, lr=1e-9, q_lr=1e-9)
    found = project(G, images, still, start=latents)
    assert_close(found.ws, latents.ws, rtol=1e-4)
    assert_close(found.q, latents.q)
    sharp = project(G, images, still, start=Latents(latents.ws, q=torch.zeros_like(latents.q)))
    assert sharp.q.any(1).all(), "a code of zeros has no gradient, so it may not be the start"


def test_takes_up_the_best_start_of_q():
    G = averaged(quality_generator())
    latents, images = samples(G)
    still = ProjectorOptions(steps=1, lr=1e-9, q_lr=1e-9, q_starts=64, **PIXELS_ONLY)
    only = project(G, images, ProjectorOptions(steps=1, lr=1e-9, q_lr=1e-9, q_starts=0), start=Latents(latents.ws))
    best = project(G, images, still, start=Latents(latents.ws))
    errors = [squared_error(synthesize(G, found), images) for found in (best, only)]
    assert (errors[0] <= errors[1] * (1 + 1e-5)).all() and (errors[0] < errors[1]).any()


def test_prior_keeps_codes_usual():
    G = averaged(quality_generator())
    images, space = torch.rand(2, 3, 16, 16) * 2 - 1, WhitenedSpace.of(G)
    options = {**PIXELS_ONLY, "steps": 30, "lr": 0.5, "settle": 0.9}
    loose, tight = [
        space.from_w(project(G, images, ProjectorOptions(**{**options, "prior_weight": weight})).ws).square().mean()
        for weight in (0.0, 100.0)
    ]
    assert tight < 0.5 * loose


def test_leaves_the_network_alone():
    G = averaged(quality_generator()).requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    project(G, samples(G)[1].detach(), ProjectorOptions(steps=2, q_starts=1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in G.state_dict().items())
    assert all(parameter.grad is None for parameter in G.parameters())


@pytest.mark.parametrize(
    "change",
    [
        *({"steps": 0}, {"lr": 0.0}, {"settle": 1.0}, {"q_starts": -1}, {"prior_weight": -1.0}),
        *({"features_lr": -0.1}, {"features_weight": -1.0}, {"features_lr": float("nan")}),
    ],
)
def test_refuses_options(change):
    with pytest.raises(UserError, match=f"projector.{next(iter(change))} is"):
        ProjectorOptions(**change)


def test_paddings_and_features_of_the_start_are_kept_and_take_part():
    G = averaged(quality_generator(resolution=32))
    start, targets = full_codes(G), synthesize(G, full_codes(G, seed=1))
    options = ProjectorOptions(steps=3, q_starts=1, **PIXELS_ONLY)
    found = project(G, targets, options, start=start)
    for name, value in found.tensors().items():
        assert torch.equal(value, start.tensors()[name]) == (name not in ("ws", "q")), name
        assert not value.requires_grad
    without = project(G, targets, options, start=start.bare())
    assert not torch.equal(found.ws, without.ws)


def test_features_are_sought_too_and_stay_near_the_networks_own():
    G = averaged(quality_generator(resolution=32))
    start, targets = full_codes(G), synthesize(G, full_codes(G, seed=1))
    before = start.features.values.clone()

    def found(**options):
        return project(G, targets, ProjectorOptions(steps=6, q_starts=1, **{**PIXELS_ONLY, **options}), start=start)

    def distance(codes):
        own = G.synthesis.layer_output(codes, stored_noise(G, 2), 3)
        return (codes.features.values - own).square().mean()

    fixed, free, tight = (
        found(features_weight=0.0),
        found(features_lr=0.1, features_weight=0.0),
        found(features_lr=0.1, features_weight=100.0),
    )
    errors = [squared_error(synthesize(G, codes), targets).mean() for codes in (fixed, free)]
    assert errors[1] < 0.9 * errors[0]
    assert distance(tight) < 0.8 * distance(free)
    assert torch.equal(start.features.values, before) and torch.equal(fixed.features.values, before)
    options = ProjectorOptions(steps=6, q_starts=1, **PIXELS_ONLY, features_lr=0.1)
    alone, together = project(G, targets[1:], options, start=start[1:]), found(features_lr=0.1)
    assert_close(alone.features.values, together.features.values[1:], rtol=1e-2)


@pytest.mark.parametrize("start", [None, Latents(torch.zeros(1, 6, 16))])
def test_features_that_are_not_there_are_not_sought(start):
    with pytest.raises(AssertionError, match="there are no features to start at, for features_lr to move"):
        project(quality_generator(), torch.zeros(1, 3, 16, 16), ProjectorOptions(features_lr=0.1), start=start)
