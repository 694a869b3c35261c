"""The quality code of known content is found from pixels or traces, in a square in the middle of the image."""

import pytest
import torch

from inversion.quality import compared_part
from inversion.quality import fit_quality as module
from inversion.quality.fit_quality import QualityOptions, fit_quality
from networks.latents import Latents
from tests.support.networks import quality_generator


@pytest.mark.parametrize("window", [16, 64])
def test_a_window_tells_the_code_of_the_whole_image(window, monkeypatch):
    monkeypatch.setattr(compared_part, "LEAST", window)
    torch.manual_seed(0)
    G = quality_generator(resolution=64).requires_grad_(False)
    latents, noise = Latents(torch.randn(4, G.num_ws, G.w_dim)), G.synthesis.make_noise("const", 4)
    content = G.synthesis.content(latents, noise)
    targets = G.synthesis.image(content, torch.randn(4, G.q_dim))
    rendered = []
    image = G.synthesis.image
    monkeypatch.setattr(G.synthesis, "image", lambda *inputs: rendered.append(image(*inputs)) or rendered[-1])
    q = fit_quality(G, latents, noise, targets, QualityOptions(100, compare="pixels"))
    assert {images.shape[2] for images in rendered} == {32 if window == 16 else 64}
    left, before = ((image(content, code) - targets).square().mean((1, 2, 3)) for code in (q, None))
    assert (left < 0.01 * before).all()


def test_traces_tell_how_strong_a_code_is_beside_other_content():
    torch.manual_seed(0)
    G = quality_generator(resolution=32).requires_grad_(False)
    noise, q = G.synthesis.make_noise("const", 4), torch.randn(1, G.q_dim)
    shown, known = (Latents(torch.randn(4, G.num_ws, G.w_dim)) for _ in range(2))
    content = G.synthesis.content(shown, noise)
    of = {
        strength: fit_quality(
            G, known, noise, G.synthesis.image(content, strength * q.repeat(4, 1)), QualityOptions(30)
        )
        for strength in (0.0, 4.0)
    }
    assert of[0.0].norm(dim=1).mean() < of[4.0].norm(dim=1).mean()
    assert ((of[4.0] - of[0.0]) @ q[0]).mean() > 0


def test_each_image_starts_at_the_closest_of_the_candidates():
    at = torch.tensor([0.1, 1.9, 1.2])  # where the three images' codes lie
    found = module._closest(torch.tensor([[1.0], [2.0]]), lambda q: (q[:, 0] - at).abs(), torch.zeros(3, 1))
    assert found.tolist() == [[0.0], [2.0], [1.0]]
