"""The identities of the paper: Eq. 4, Eq. 6, Eq. 10, and what follows from how they are computed."""

import pytest
import torch
import torch.nn.functional as F

from networks.config import QualityConfig
from networks.files import with_precision
from networks.generators.degrad_block import PaperDegradBlock, PlacedDegradBlock
from networks.generators.quality_block import Entered
from networks.latents import Latents
from tests.support.networks import VARIANTS, golden_generator, quality_generator, small_generator
from tests.support.tolerance import assert_close

ARCHITECTURES = ["skip", "resnet", "orig"]


def test_released_generator(golden):
    arrays, [case] = golden("qc_released_generator")
    G = golden_generator(arrays, case, QualityConfig(variant="released", q_dim=case["q_dim"]))
    ws, q = torch.tensor(arrays["ws"]), torch.tensor(arrays["q"])
    assert_close(G.synthesis(ws, torch.zeros_like(q), noise_mode="const"), arrays["img_q0"], what="q = 0")
    assert_close(G.synthesis(ws, q, noise_mode="const"), arrays["img_q"], what="q")
    assert_close(G.synthesis(ws, 2.5 * q, noise_mode="const"), arrays["img_2p5q"], what="2.5 q")
    # The reference features are outputs of conv1, before the residual, on the way to the degraded image.
    outputs = []
    for index in G.synthesis.head:
        conv1 = G.synthesis.block(index).conv1
        conv1.register_forward_hook(lambda layer, _, y: outputs.append(y[:, : layer.out_channels]))
    G.synthesis(ws, q, noise_mode="const")
    for index, y in enumerate(outputs):
        assert_close(y, arrays[f"feature{index}"], what=f"feature {index}")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_sharp_is_the_plain_generator_bit_for_bit(variant, architecture, blocks):
    """Eq. 4: F(z, 0) = F_0(z)."""
    base = small_generator(32, architecture=architecture).eval()
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    G = quality_generator(variant, 32, blocks=blocks, architecture=architecture)
    G.load_base(base)
    z = torch.randn(3, base.z_dim)
    expected = base(z, noise_mode="const")
    assert torch.equal(G(z, noise_mode="const"), expected)
    assert torch.equal(G(z, q=torch.zeros(3, G.q_dim), noise_mode="const"), expected)
    assert not torch.allclose(G(z, q=torch.randn(3, G.q_dim), noise_mode="const"), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_zero_code_leaves_its_image_alone(variant):
    """Eq. 6, where only some images of a batch are sharp."""
    G = quality_generator(variant)
    ws = G.mapping(torch.randn(3, 16), None)
    q = torch.randn(3, G.q_dim)
    q[1] = 0
    assert torch.equal(G.synthesis(ws, q, noise_mode="const")[1], G.synthesis(ws, noise_mode="const")[1])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("k", [0.25, 3.0])
def test_residual_scales_with_the_code(variant, k):
    """Eq. 10: DB(f, k q) = k DB(f, q)."""
    G = quality_generator(variant)
    block = G.synthesis.block(-1)
    f, image, ws = torch.randn(2, 16, 16, 16), torch.randn(2, 3, 8, 8), torch.randn(2, 3, 16)
    q, noise = torch.randn(2, G.q_dim), G.synthesis.make_noise("const", 2)[-1]
    entered = Entered(f, None, image, ws, noise, None)
    for all_rows, scaled_rows in zip(
        block.degraded(entered, q, True), block.degraded(entered, k * q, True), strict=True
    ):
        sharp, degraded = all_rows.chunk(2)
        sharp_again, scaled = scaled_rows.chunk(2)
        assert torch.equal(sharp, sharp_again)
        assert (degraded - sharp).abs().max() > 0
        assert_close(scaled - sharp, k * (degraded - sharp), rtol=1e-4)


def test_folded_combination_equals_equations_7_and_8():
    block = PaperDegradBlock(QualityConfig(q_dim=5, channels=6), 7, 7)
    f, q = torch.randn(3, 7, 9, 8), torch.randn(3, 5)
    r1 = F.conv2d(f, block.weight * block.weight_gain, padding=1)  # Eq. 7
    r2 = (r1.view(3, 5, 6, 9, 8) * q[:, :, None, None, None]).sum(1)  # Eq. 8
    assert_close(block.combine(f, q), r2, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("images", [1, 3])
def test_both_equals_two_calls(variant, architecture, images):
    """Values and gradients of the shared computation are those of the sharp and the degraded pass."""
    G = quality_generator(variant, blocks=2, architecture=architecture)
    G.freeze_trunk()
    ws, q = G.mapping(torch.randn(images, 16), None), torch.randn(images, G.q_dim)
    noise = G.synthesis.make_noise("random", images)
    content = G.synthesis.content(Latents(ws), noise)
    probe = torch.randn(2 * images, 3, 16, 16)

    def run(*parts):
        result = torch.cat(parts)
        return result, torch.autograd.grad((result * probe).sum(), list(G.trainable_parameters().values()))

    together, gradients = run(G.synthesis.twins(content, q)[0])
    apart, expected = run(G.synthesis.image(content), G.synthesis.image(content, q))
    assert_close(together, apart)
    for name, a, b in zip(G.trainable_parameters(), gradients, expected, strict=True):
        assert_close(a, b, rtol=1e-3, what=name)


def test_only_the_last_blocks_are_free():
    G = quality_generator(blocks=1)
    G.freeze_trunk()
    assert {name.split(".")[1] for name in G.trainable_parameters()} == {"b16"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_starts_sharp(variant):
    """But for the noise of `pixels`."""
    G = quality_generator(variant, zero_start=True)
    ws, q = G.mapping(torch.randn(2, 16), None), torch.randn(2, G.q_dim)
    noise_mode = "none" if variant == "pixels" else "const"
    assert torch.equal(G.synthesis(ws, q, noise_mode=noise_mode), G.synthesis(ws, noise_mode=noise_mode))


@pytest.mark.parametrize("variant", VARIANTS)
def test_residual_is_bounded_in_float16(variant):
    G = with_precision(quality_generator(variant), "fp16")
    ws = G.mapping(torch.randn(2, 16), None)
    q = torch.randn(2, G.q_dim)
    for scale in (1e4, 1e9):
        assert torch.isfinite(G.synthesis(ws, scale * q, noise_mode="const")).all()
    full = with_precision(G, "fp32")
    assert_close(G.synthesis(ws, q, noise_mode="const"), full.synthesis(ws, q, noise_mode="const"), rtol=0.02)


def test_every_variant_has_its_own_width():
    assert [QualityConfig(variant=variant).width for variant in VARIANTS] == [32, 32, 32, 16, 32]
    narrow, wide = (quality_generator("released"), QualityConfig("released", q_dim=4, channels=8))
    assert narrow.config.quality.width == wide.width == 8
    assert narrow.synthesis.block(-1).convq.get_submodule("0").weight.shape[1] == 8


def redrawn(G, ws, q, blocks, **changes):
    """Return the image for noise of which some entries of the last blocks are replaced, by their index."""
    noise = G.synthesis.make_noise("const", len(ws))
    for index in blocks:
        noise[index] = [changes.get(f"n{k}", entry) for k, entry in enumerate(noise[index])]
    return G.synthesis(ws, q, noise=noise)


def test_own_noise_moves_the_degraded_image_alone():
    """Noise of the DegradBlock is free of the sharp pass, and vanishes with the code."""
    G = quality_generator("paper+", blocks=1)
    ws, q = G.mapping(torch.randn(2, 16), None), torch.randn(2, G.q_dim)
    other = torch.randn(2, 3, 16, 16)
    images = {strength: redrawn(G, ws, strength * q, [-1], n2=other) for strength in (0.0, 1e-3, 1.0)}
    kept = {strength: redrawn(G, ws, strength * q, [-1]) for strength in images}
    assert torch.equal(images[0.0], kept[0.0])
    assert torch.equal(G.synthesis(ws, noise=G.synthesis.make_noise("const", 2)), kept[0.0])
    change = {strength: (images[strength] - kept[strength]).abs().max() for strength in images}
    assert 0 < change[1e-3] < 0.01 * change[1.0]


def test_own_noise_has_three_maps_of_each_mode():
    G = quality_generator("paper+", blocks=1)
    shapes = [None if entry is None else tuple(entry.shape) for entry in G.synthesis.make_noise("random", 4)[-1]]
    assert shapes == [(4, 1, 16, 16), (4, 1, 16, 16), (4, 3, 16, 16)]
    assert G.synthesis.make_noise("none", 4)[-1] == [None] * 3
    assert torch.equal(G.synthesis.make_noise("const", 4)[-1][2], G.synthesis.block(-1).degrade.noise_const[None])
    ws, q = G.mapping(torch.randn(2, 16), None), torch.randn(2, G.q_dim)
    without = redrawn(G, ws, q, [-1], n2=None)
    assert_close(without, redrawn(G, ws, q, [-1], n2=torch.zeros(1, 3, 16, 16)))


@pytest.mark.parametrize(("resolution", "period"), [(64, 8), (32, 4), (16, 2), (8, 1)])
def test_the_grids_period_counts_pixels_of_the_image(resolution, period):
    block = PlacedDegradBlock(QualityConfig(q_dim=2, channels=4), 6, 6, resolution, 64)
    r = block.add_place(torch.zeros(3, 4, resolution, resolution), torch.randn(3, 2))  # [N, L, R, R]
    assert torch.equal(r, r.roll((period, period), (2, 3)))
    assert all(not torch.equal(r, r.roll(shift, axis)) for shift in range(1, period) for axis in (2, 3))
    assert block(torch.randn(2, 6, resolution, resolution), torch.randn(2, 2)).shape == (2, 6, resolution, resolution)
