"""The network that tells the quality code by traces alone."""

import pytest
import torch
import torch.nn.functional as F

from inversion.quality.trace_network import SAMPLES, TraceNetwork
from inversion.quality.traces import count_traces, traces
from networks.generators import qc_stylegan
from networks.latents import Latents
from tests.support.networks import quality_generator
from tests.support.tolerance import assert_close


@pytest.fixture(scope="module", name="G")
def _generator():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return quality_generator(resolution=32)


@pytest.fixture(name="network")
def _network(G):
    torch.manual_seed(4)
    network = TraceNetwork(G)
    network.measure(G)
    return network


def images(count, side=32, seed=0):
    return 2 * torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) - 1


def test_what_has_the_same_traces_has_the_same_code(network, G):
    """A negative has every power that the image has, and so have channels in another order."""
    photos = images(2)
    codes = network(photos)
    assert codes.shape == (2, 1, G.q_dim)
    assert_close(network(-photos), codes, rtol=1e-4)
    assert_close(network(photos[:, [2, 0, 1]]), codes, rtol=1e-4)
    assert (network(0.5 * photos) - codes).abs().max() > 1e-3


def test_each_image_counts_for_itself(network):
    photos = images(5)
    alone = torch.cat([network(photo[None]) for photo in photos])
    assert_close(network(photos), alone, rtol=1e-5)


def test_images_of_other_sides_are_brought_to_the_networks_own(network):
    large = images(2, side=64)
    assert torch.equal(network(large), network(F.avg_pool2d(large, 2)))


def test_half_precision_of_other_networks_has_no_effect(network):
    """The power of what is left in a quiet place is a millionth; rounded, its logarithm would mean nothing."""
    photos = images(2)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(photos)
    assert torch.equal(found, network(photos))


def test_traces_of_own_images_come_in_units(network, G):
    """As measured: what is read has mean 0 and spread 1 over images that the generator makes."""
    drawn = torch.Generator().manual_seed(9)
    ws = G.mapping(torch.randn(4 * SAMPLES, G.z_dim, generator=drawn), None)
    noise = G.synthesis.make_noise("const", len(ws))
    own = G.synthesis.image(G.synthesis.content(Latents(ws), noise), torch.randn(len(ws), G.q_dim, generator=drawn))
    read = []
    network.layers[0].register_forward_pre_hook(lambda layer, inputs: read.append(inputs[0]))
    with torch.no_grad():
        network(own)
    assert read[0].mean(0).abs().max() < 0.6 and (read[0].std(0).log().abs() < 0.5).all()


def test_classes_are_drawn_in_turn():
    config = quality_generator().config
    G = qc_stylegan.Generator(config, 3, 16, 3).eval()
    network = TraceNetwork(G)
    network.measure(G)
    assert torch.isfinite(network.mean).all() and (network.spread > 0).all()


@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
def test_traces_are_counted(side):
    assert traces(images(1, side)).shape == (1, count_traces(side))


def test_a_network_that_was_loaded_for_inference_alone_leaves_traces_that_train():
    """What is computed once for all images of a side is no inference tensor."""
    side = 40  # which no other test has
    with torch.inference_mode():
        traces(images(1, side))
    photos = images(1, side).requires_grad_(True)
    traces(photos).sum().backward()
    assert torch.isfinite(photos.grad).all()


def test_plain_places_have_gradients(network):
    """Nothing of an even image exceeds the floor of its powers."""
    photos = torch.zeros(2, 3, 32, 32, requires_grad=True)
    network(photos).sum().backward()
    assert torch.isfinite(photos.grad).all()


def test_the_strength_of_noise_is_learned(network):
    """From images of nothing but noise, by few steps, for strengths between those that were seen."""
    strengths = torch.linspace(-3, 0, 64).exp()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(60):
        noise = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(step))
        found = network(strengths[:, None, None, None] * noise)[:, 0, 0]
        optimizer.zero_grad()
        (found - strengths.log()).square().mean().backward()
        optimizer.step()
    others = torch.linspace(-2.9, -0.1, 32).exp()
    noise = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(-1))
    with torch.no_grad():
        found = network(others[:, None, None, None] * noise)[:, 0, 0]
    assert (found - others.log()).abs().mean() < 0.15
