"""The square in the middle in which degradations are compared."""

import pytest
import torch

from inversion.quality import compared_part
from inversion.quality.compared_part import ComparedPart
from networks.latents import Latents
from tests.support.networks import quality_generator
from tests.support.tolerance import assert_close


@pytest.mark.parametrize("least", [16, 64])
@pytest.mark.parametrize("is_sharp", [True, False])
def test_what_is_rendered_is_what_is_cut_from_the_whole(monkeypatch, least, is_sharp):
    monkeypatch.setattr(compared_part, "LEAST", least)
    torch.manual_seed(0)
    G = quality_generator(resolution=64, blocks=1)
    content = G.synthesis.content(Latents(torch.randn(2, G.num_ws, G.w_dim)), G.synthesis.make_noise("const", 2))
    q = None if is_sharp else torch.randn(2, G.q_dim)
    part = ComparedPart(G, content)
    whole = G.synthesis.image(content, q)
    found = part.render(q)
    assert found.shape[2:] == ((16, 16) if least == 16 else (64, 64))
    assert_close(found, part.cut(whole), rtol=1e-4)
    assert part.pixels.start % 8 == 0  # on the grid of JPEG
