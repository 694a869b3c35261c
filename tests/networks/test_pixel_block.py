"""The variant `pixels`: what its DegradBlock sees of the image, and what it does to it."""

import pytest
import torch
from torch.autograd import gradgradcheck

from networks.config import QualityConfig
from networks.generators.cells import CellRounding, cells_of, cosine_waves, image_of
from networks.generators.pixel_block import PixelDegradBlock
from networks.generators.quality_block import OwnConvolutionBlock
from networks.latents import Latents
from tests.support.networks import quality_generator
from tests.support.tolerance import assert_close


@pytest.mark.parametrize("side", [1, 2, 4, 8])
def test_waves_are_orthogonal_and_the_first_is_the_mean(side):
    waves = cosine_waves(side)
    assert_close(waves @ waves.T, torch.eye(side), rtol=1e-6)
    assert_close(waves[0], torch.full((side,), side**-0.5))


def test_cells_are_those_of_jpegs_grid():
    image = torch.randn(2, 3, 16, 24)
    cells = cells_of(image, 8)
    places = [cells[:, :, :, index].transpose(1, 2).unflatten(2, (8, 8)) for index in (1, 5)]  # [N, C, 8, 8] each
    assert torch.equal(places[0], image[:, :, :8, 8:16])
    assert torch.equal(places[1], image[:, :, 8:, 16:])
    assert torch.equal(image_of(cells, 24), image)


def drawn(module):
    """Give all parameters of a module random values."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def test_each_cell_changes_alone():
    network = drawn(CellRounding(4, 3, 8))
    image, q = torch.randn(2, 3, 16, 16), torch.randn(2, 4)
    changed = image.clone()
    changed[:, :, 3, 12] += 1
    difference = cells_of(network(changed, q) - network(image, q), 8)
    changes = difference.abs().amax((0, 1, 2))  # [cells]
    assert all(changes[cell] < 1e-5 for cell in (0, 2, 3)) and changes[1] > 1e-3


def test_minus_a_unit_takes_weak_cosines_away_and_shortens_strong_ones():
    network = CellRounding(1, 1, 8)
    wave, bound = 5, 0.25
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.weight[0, wave, 0, 0] = 1 / network.gain
        network.bound[0, wave, 0] = -bound / network.bound_gain
        network.out[wave, 0, 0] = -1 / network.out_gain
    pattern = torch.outer(cosine_waves(8)[0], cosine_waves(8)[wave])[None, None]  # one cosine of one cell
    for amplitude, left in ((0.2, 0.0), (-0.1, 0.0), (0.6, 0.35), (-1.0, -0.75)):
        image = amplitude * pattern
        kept = image + network(image, torch.ones(1, 1))
        assert (kept - left * pattern).abs().max() < 1e-6


def test_nothing_is_drawn_where_there_is_nothing():
    network = drawn(CellRounding(4, 3, 8))
    image, q = torch.zeros(1, 3, 16, 16), torch.randn(1, 4)
    assert torch.equal(network(image, q), image)
    image = torch.randn(1, 3, 16, 16)
    assert_close(network(-image, q), -network(image, q))


def test_the_image_changes_besides_its_features():
    """What is written to the image alone leaves the features of the block, and the sharp image, as they were."""
    G = quality_generator("pixels", blocks=1)
    block, q = G.synthesis.block(-1), torch.randn(2, G.q_dim)
    content = G.synthesis.content(Latents(G.mapping(torch.randn(2, 16), None)), G.synthesis.make_noise("const", 2))
    before, features = G.synthesis.run(content, G.synthesis.num_blocks, q)
    sharp = G.synthesis.image(content)
    with torch.no_grad():
        block.degrade.to_image.weight.mul_(2)
        block.degrade.cells.out.mul_(2)
    after, features_after = G.synthesis.run(content, G.synthesis.num_blocks, q)
    assert torch.equal(features[-1], features_after[-1])
    assert not torch.allclose(before.img, after.img)
    assert torch.equal(G.synthesis.image(content), sharp)


def test_gradients_reach_all_that_is_seen():
    block = drawn(PixelDegradBlock(QualityConfig(q_dim=2, channels=2, depth=1), 1, 4, 1, 8))
    inputs = [torch.randn(shape, requires_grad=True) for shape in ((1, 1, 4, 4), (1, 1, 4, 4), (1, 2))]
    for residual in block.residuals(*inputs, None):
        gradients = torch.autograd.grad(residual.square().sum(), inputs, retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("side", [4, 8])
def test_second_derivatives_of_cells(side):
    """Path lengths need them."""
    network = drawn(CellRounding(2, 1, side)).double()
    image, q = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((1, 1, 8, 8), (1, 2)))
    assert gradgradcheck(network, (image, q))


def test_it_continues_a_paper_plus_network():
    """Its weights are those of `paper+` and more, which begin without effect, but for the patterns of the place."""
    start = quality_generator("paper+", resolution=32)
    with torch.no_grad():
        for index in start.synthesis.head:
            start.synthesis.block(index).degrade.grid.zero_()
    G = quality_generator("pixels", resolution=32, zero_start=True)
    G.load_base(start)
    ws, q = start.mapping(torch.randn(2, 16), None), torch.randn(2, G.q_dim)
    noise = start.synthesis.make_noise("const", 2)
    assert_close(G.synthesis(ws, q, noise=noise), start.synthesis(ws, q, noise=noise), rtol=1e-4)
    assert not any(name.endswith("grid") for name in G.state_dict())


def test_blocks_without_an_image_layer_have_the_placed_block():
    G = quality_generator("pixels", blocks=2, architecture="resnet", resolution=32)
    assert isinstance(G.synthesis.block(-2), OwnConvolutionBlock)
    assert isinstance(G.synthesis.block(-1).degrade, PixelDegradBlock)


@pytest.mark.parametrize("variant", ["paper+", "pixels"])
def test_blocks_whose_places_hold_several_cells_of_the_grid(variant):
    """At 8x8 of 128x128 a place is 16 pixels wide, more than a cell: each place is a cell then."""
    G = quality_generator(variant, resolution=128, blocks=5)
    assert [G.synthesis.block(index).degrade.period for index in G.synthesis.head] == [1, 1, 2, 4, 8]
    ws, q = G.mapping(torch.randn(1, 16), None), torch.randn(1, G.q_dim)
    assert G.synthesis(ws, q).isfinite().all()
