"""StyleGAN2's networks equal the reference numbers with its state dicts."""

import dataclasses

import pytest
import torch

from networks.config import PrecisionConfig
from networks.discriminator import Discriminator
from networks.generators.stylegan2 import Generator
from networks.latents import Latents
from tests.support.networks import SMALL, SMALL_D, golden_discriminator, golden_generator, small_generator
from tests.support.tolerance import assert_close
from torch_utils.seeding import BatchRandom
from training.losses import path_lengths, r1_penalty


@pytest.mark.parametrize("name", ["skip", "resnet", "cond"])
def test_generator(golden, name):
    arrays, [case] = golden(f"generator_{name}")
    G = golden_generator(arrays, case)
    z, c = torch.tensor(arrays["z"]), torch.tensor(arrays["c"])
    ws = G.mapping(z, c)
    assert_close(ws, arrays["ws"], what="ws")
    assert_close(G.mapping(z, c, truncation_psi=0.7, truncation_cutoff=3), arrays["ws_trunc"], what="ws_trunc")
    assert_close(G.synthesis(ws, noise_mode="const"), arrays["img_const"], what="img_const")
    assert_close(G.synthesis(ws, noise_mode="none"), arrays["img_none"], what="img_none")
    assert_close(G(z, c, truncation_psi=0.7, noise_mode="const"), arrays["img_trunc"], what="img_trunc")
    ws = ws.detach().requires_grad_()
    images = G.synthesis(ws, noise_mode="const")
    assert_close(path_lengths(images, ws, torch.tensor(arrays["pl_noise"])), arrays["pl_lengths"], what="pl_lengths")


@pytest.mark.parametrize("name", ["resnet", "skip", "orig", "cond"])
def test_discriminator(golden, name):
    arrays, [case] = golden(f"discriminator_{name}")
    D = golden_discriminator(arrays, case)
    x = torch.tensor(arrays["x"]).requires_grad_()
    logits = D(x, torch.tensor(arrays["c"]))
    assert_close(logits, arrays["logits"], what="logits")
    assert_close(r1_penalty(logits, x), arrays["r1_penalty"], what="r1_penalty")


def test_orig_generator_has_one_image_layer():
    G = small_generator(architecture="orig")
    assert [name for name, _ in G.synthesis.named_modules() if name.endswith("torgb")] == ["b16.torgb"]
    assert G(torch.randn(2, 16)).shape == (2, 3, 16, 16)


def test_noise_is_the_callers():
    G = small_generator().eval()
    with torch.no_grad():
        for layer in G.synthesis.modules():
            if hasattr(layer, "noise_strength"):
                layer.noise_strength.fill_(1)
    ws = G.mapping(torch.randn(4, 16), None)
    same = [G.synthesis(ws, rng=BatchRandom([7], 4)) for _ in range(2)]
    assert torch.equal(*same)
    halves = [G.synthesis(ws[rows], rng=BatchRandom([7], 4, rows)) for rows in (slice(0, 2), slice(2, 4))]
    assert_close(torch.cat(halves), same[0], rtol=1e-5)
    assert not torch.equal(G.synthesis(ws, rng=BatchRandom([8], 4)), same[0])


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_low_precision_networks_follow_float32(dtype, architecture):
    precision = PrecisionConfig(dtype=dtype, blocks=2)
    full = small_generator(architecture=architecture)
    low = small_generator(architecture=architecture, precision=precision)
    low.load_state_dict(full.state_dict())
    z = torch.randn(2, 16)
    images = low(z, noise_mode="const")
    assert images.dtype == torch.float32
    assert_close(images, full(z, noise_mode="const"), rtol=0.05)
    D_full = Discriminator(dataclasses.replace(SMALL_D, architecture=architecture), 0, 16, 3)
    D_low = Discriminator(dataclasses.replace(SMALL_D, architecture=architecture, precision=precision), 0, 16, 3)
    D_low.load_state_dict(D_full.state_dict())
    assert_close(D_low(images), D_full(images), rtol=0.1)


def test_precision_is_per_resolution():
    precision = PrecisionConfig(dtype="bf16", blocks=2)
    G = Generator(dataclasses.replace(SMALL, precision=precision), 0, 32, 3)
    assert [G.synthesis.block(i).dtype for i in range(4)] == [torch.float32] * 2 + [torch.bfloat16] * 2


def test_activations_are_clamped():
    G = small_generator(precision=PrecisionConfig(conv_clamp=0.5))
    ws = 100 * torch.randn(1, G.num_ws, 16)
    features = G.synthesis.features(G.synthesis.content(Latents(ws), G.synthesis.make_noise("none", 1)))
    assert len(features) == 3
    assert all(x.abs().max() <= 0.5 for x in features)


def test_freeze_d():
    D = Discriminator(dataclasses.replace(SMALL_D, freeze_layers=4), 0, 16, 3)
    frozen = {name.rsplit(".", 1)[0] for name, parameter in D.named_parameters() if not parameter.requires_grad}
    assert frozen == {"b16.fromrgb", "b16.conv0", "b16.conv1", "b16.skip"}


@pytest.mark.parametrize(("group_size", "images"), [(4, 8), (4, 2), (2, 6), (None, 3)])
def test_batches_in_one_pass_do_not_see_each_other(group_size, images):
    """Logits and derivatives of fakes and reals at once are those of a pass for each."""
    D = Discriminator(dataclasses.replace(SMALL_D, mbstd_group_size=group_size), 0, 16, 3)
    fakes, reals = torch.randn(2, images, 3, 16, 16)
    apart, together = torch.cat([D(fakes), D(reals)]), D(torch.cat([fakes, reals]), parts=2)
    assert_close(together, apart)
    probe = torch.randn_like(apart)
    for weight in D.parameters():
        gradients = [torch.autograd.grad(each, weight, probe, retain_graph=True)[0] for each in (together, apart)]
        assert_close(*gradients)
    with pytest.raises(AssertionError, match="7 images are not 2 equal parts"):
        D(torch.zeros(7, 3, 16, 16), parts=2)


def test_w_avg_follows_the_mean():
    G = small_generator()
    for _ in range(2000):
        G.mapping.track_average(torch.full((16,), 3.0))
    assert torch.allclose(G.mapping.w_avg, torch.tensor(3.0), atol=0.01)
