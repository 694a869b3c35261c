"""The variant `pixels`: what its DegradBlock sees of the image, and what it does to it."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch.autograd import gradgradcheck

from networks.config import QualityConfig
from networks.generators.cells import CellRounding, cells_of, cosine_waves, image_of
from networks.generators.code_mapping import CodeMapping
from networks.generators.degrad_block import PaperDegradBlock, typical_codes
from networks.generators.own_kernels import OwnKernels
from networks.generators.pixel_block import PixelDegradBlock
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


CONTINUED = ("paper", "pixels")


def side_of_cells(block):
    return block.cells.side if isinstance(block, PixelDegradBlock) else block.period


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


def test_it_continues_a_network_of_the_paper():
    """Its weights are those of `paper` and more, which begin without effect."""
    start, G = (quality_generator(variant, resolution=32, zero_start=variant == "pixels") for variant in CONTINUED)
    G.load_base(start)
    ws, q = start.mapping(torch.randn(2, 16), None), torch.randn(2, G.q_dim)
    content = start.synthesis.content(Latents(ws), start.synthesis.make_noise("none", 2))
    assert_close(G.synthesis.image(content, q), start.synthesis.image(content, q), rtol=1e-4)


def test_blocks_without_an_image_layer_have_the_papers_block():
    G = quality_generator("pixels", blocks=2, architecture="resnet", resolution=32)
    assert type(G.synthesis.block(-2).degrade) is PaperDegradBlock
    assert isinstance(G.synthesis.block(-1).degrade, PixelDegradBlock)


def test_the_code_has_any_effect_by_its_direction():
    """A code and its negative need not have opposite effects, and a zero code has none."""
    mapping = CodeMapping(4)
    u = typical_codes(torch.randn(3, 4))[0]
    assert torch.equal(mapping(u), u)
    drawn(mapping)
    assert (mapping(-u) + mapping(u)).abs().min(dim=1).values.max() > 1e-2
    assert torch.equal(mapping(torch.zeros(2, 4)), torch.zeros(2, 4))


def test_typical_codes_have_one_length_and_a_factor_to_their_own():
    q = torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, -1e-3, 0.0, 0.0]])
    typical, factor = typical_codes(q)
    assert_close(typical.norm(dim=1), torch.tensor([2.0, 0.0, 2.0]))
    assert_close(typical * factor, q)


def test_the_gradient_of_a_zero_code_is_finite():
    G = quality_generator("pixels")
    q = torch.zeros(2, G.q_dim, requires_grad=True)
    content = G.synthesis.content(Latents(G.mapping(torch.randn(2, 16), None)), G.synthesis.make_noise("const", 2))
    [gradient] = torch.autograd.grad(G.synthesis.image(content, q).square().sum(), q)
    assert gradient.isfinite().all() and gradient.abs().max() > 0


@pytest.mark.parametrize("side", [2, 4, 16])
def test_a_kernel_is_a_convolution_of_the_mirrored_image(side):
    network, image, q = drawn(OwnKernels(3, side)), torch.randn(2, 3, side, side + 8), torch.randn(2, 3)
    residual, kernels, margin = network(image, q), network.kernels(q), network.side // 2
    assert kernels.sum((1, 2)).abs().max() < 1e-5
    for row in range(2):
        for channel in range(3):
            mirrored = np.pad(image[row, channel].numpy(), margin, mode="reflect")
            expected = correlate(mirrored, kernels[row].detach().numpy(), mode="valid")
            assert_close(residual[row, channel], expected, rtol=1e-4)


def test_even_areas_stay_as_they_are():
    network, q = drawn(OwnKernels(3, 16)), torch.randn(2, 3)
    assert network(torch.full((2, 3, 16, 16), 0.7), q).abs().max() < 1e-4
    assert network(torch.randn(2, 3, 16, 16), 0 * q).abs().max() == 0


def test_a_kernel_row_by_row_is_the_same():
    """Exported graphs compute it so."""
    network, image, q = drawn(OwnKernels(3, 16)), torch.randn(2, 3, 16, 24), torch.randn(2, 3)
    expected = network(image, q)
    network.by_taps = True
    assert_close(network(image, q), expected, rtol=1e-5)


def test_images_change_in_the_order_of_cameras():
    """Compression acts on what blur and noise have left: a bound beyond all values takes that away, not the image."""
    block = PixelDegradBlock(QualityConfig(q_dim=1, channels=2, depth=1), 1, 8, 1, 8)
    with torch.no_grad():
        block.blur.weight.normal_()
        block.grain.normal_()
        for parameter in block.cells.parameters():
            parameter.zero_()
        block.cells.weight[..., 0, 0] = 1 / block.cells.gain
        block.cells.bound.fill_(1e3)
        block.cells.out[:, 0, 0] = -1 / block.cells.out_gain
    f, image, noise = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.randn(2, 3, 8, 8)
    _, residual = block.residuals(f, image, torch.ones(2, 1), noise)
    assert (image + residual).abs().max() < 1e-5


def test_noise_is_white_and_free_of_the_image():
    block = PixelDegradBlock(QualityConfig(q_dim=2, channels=2, depth=1), 1, 8, 3, 8)
    with torch.no_grad():
        block.grain.normal_()
    f, image, q = torch.randn(2, 1, 8, 8), torch.randn(2, 3, 8, 8), torch.randn(2, 2)
    noise = torch.zeros(1, 3, 8, 8)
    noise[0, 1, 3, 4] = 1
    _, residual = block.residuals(f, image, q, noise)
    expected = (q @ block.grain[:, 1]) * block.grain_gain  # [N, C]
    assert_close(residual[:, :, 3, 4], expected, rtol=1e-4)
    assert (residual != 0).sum() <= expected.numel()


@pytest.mark.parametrize("variant", ["paper+", "pixels"])
def test_blocks_whose_places_hold_several_cells_of_the_grid(variant):
    """At 8x8 of 128x128 a place is 16 pixels wide, more than a cell: each place is a cell then."""
    G = quality_generator(variant, resolution=128, blocks=5)
    assert [side_of_cells(G.synthesis.block(index).degrade) for index in G.synthesis.head] == [1, 1, 2, 4, 8]
    ws, q = G.mapping(torch.randn(1, 16), None), torch.randn(1, G.q_dim)
    assert G.synthesis(ws, q).isfinite().all()
