"""A window of images: its pixels are those of the whole, apart from the border."""

import pytest
import torch

from networks.config import QualityConfig
from networks.generators.window import middle
from networks.latents import Latents, Padding
from tests.support.networks import quality_generator, small_creps
from tests.support.tolerance import assert_close


def codes(G, rows=2):
    torch.manual_seed(1)
    return Latents(torch.randn(rows, G.num_ws, G.w_dim)), torch.randn(rows, G.q_dim)


def quality_creps(resolution):
    G = small_creps(resolution, quality=QualityConfig(q_dim=4, channels=8))
    for name, parameter in G.named_parameters():
        if "convq" in name:
            parameter.normal_()
    return G


@pytest.mark.parametrize("noise_mode", ["const", "random"])
@pytest.mark.parametrize("kind", ["paper", "paper+", "pixels", "released", "creps"])
@torch.no_grad()
def test_pixels_within_a_window_are_those_of_the_image(kind, noise_mode):
    """Noise, and the place in JPEG's grid, are those of the same pixels."""
    G = quality_creps(128) if kind == "creps" else quality_generator(kind, resolution=128)
    latents, q = codes(G)
    content = G.synthesis.content(latents, G.synthesis.make_noise(noise_mode, 2))
    window, pixels = middle(content, 128, 108)
    assert pixels == slice(8, 120)
    part, image = G.synthesis.image(window, q), G.synthesis.image(content, q)
    assert part.shape == (2, 3, 112, 112)
    border = 48  # as far as a pixel sees through both blocks
    inner = slice(border, -border)
    assert_close(part[:, :, inner, inner], image[:, :, pixels, pixels][:, :, inner, inner], rtol=1e-4)
    assert not torch.allclose(part, image[:, :, :112, :112])


def test_small_images_and_those_with_rings_behind_the_trunk_stay_whole():
    G = quality_generator(resolution=64)
    latents, _ = codes(G)
    content = G.synthesis.content(latents, G.synthesis.make_noise("const", 2))
    for side in (64, 60, 50, 100):
        assert middle(content, 64, side) == (content, slice(0, 64))
    start = G.synthesis.content(latents, content.noise, blocks=0)  # all that is shared where q enters with w
    assert middle(start, 64, 16) == (start, slice(0, 64))
    shapes = G.code_shapes()
    for name, is_whole in {"b16.conv1": False, "b32.conv1": True, "b64.conv1": True}.items():
        ring = torch.zeros(2, *shapes[f"padding.{name}"]) if f"padding.{name}" in shapes else torch.zeros(2, 4, 132)
        window, pixels = middle(content._replace(padding=Padding(rings={name: ring})), 64, 16)
        assert (pixels == slice(0, 64)) == is_whole == (window.x is content.x)
