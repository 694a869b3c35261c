"""Paddings and features that codes put into generators: the reference numbers, and the identities of both papers."""

import dataclasses

import pytest
import torch

from generation.rendering import render, stored_noise, synthesize
from networks.config import GeneratorConfig, MappingConfig, PrecisionConfig
from networks.generators import stylegan2
from networks.latents import Features, Latents, Padding
from networks.layers import SynthesisLayer
from tests.support.networks import quality_generator, small_generator
from tests.support.tolerance import assert_close
from torch_utils.ops.rings import crop, ring_of, surround

VARIANTS = ("paper", "paper+", "pixels", "adain", "released")


def golden_synthesis(arrays, case):
    """Return the generator of reference numbers whose state lacks the mapping, and a generator with its noise."""
    case = case["generator"]
    config = GeneratorConfig(
        z_dim=case["z_dim"],
        w_dim=case["w_dim"],
        mapping=MappingConfig(1),
        precision=PrecisionConfig(),
        **case["synthesis_kwargs"],
    )
    G = stylegan2.Generator(config, 0, case["img_resolution"], case["img_channels"]).eval()
    names = [name for name in arrays.files if name.startswith("state/")]
    unused = G.load_state_dict(
        {name.removeprefix("state/"): torch.tensor(arrays[name]) for name in names}, strict=False
    )
    assert not unused.unexpected_keys and all(name.startswith("mapping.") for name in unused.missing_keys)
    return G


def ring(maps, side):
    return ring_of(crop(maps, side))


def as_padding(arrays, case):
    def tensor(name):
        return torch.zeros(2, 8, 34, 34) if name == "zeros" else leaf(arrays, name)

    rings = {f"b{r}.conv1": ring(tensor(name), int(r) + 2) for r, name in case["maps"].items()}
    rings |= {f"b{r}.conv0": ring_of(tensor(name)) for r, name in case["up"].items()}
    return Padding(None if case["const"] is None else crop(tensor(case["const"]), 4), rings)


def leaf(arrays, name):
    return torch.tensor(arrays[name])


@pytest.mark.parametrize("i", range(7))
def test_images_with_paddings_equal_the_reference(golden, i):
    arrays, cases = golden("padinv_generator")
    G = golden_synthesis(arrays, cases[i])
    latents = Latents(leaf(arrays, "ws"), padding=as_padding(arrays, cases[i]))
    assert_close(synthesize(G, latents), arrays[f"img{i}"], rtol=1e-4)


def test_gradients_of_paddings_equal_the_reference(golden):
    arrays, cases = golden("padinv_generator")
    G = golden_synthesis(arrays, cases[2])
    names = ("ws", "const", "map4", "map8", "map16", "map32")
    leaves = {name: leaf(arrays, name).requires_grad_() for name in names}
    rings = {f"b{r}.conv1": ring(leaves[f"map{r}"], r + 2) for r in (4, 8, 16, 32)}
    images = synthesize(G, Latents(leaves["ws"], padding=Padding(leaves["const"], rings)))
    gradients = torch.autograd.grad((images * leaf(arrays, "g")).sum(), list(leaves.values()))
    for name, gradient in zip(names, gradients, strict=True):
        assert_close(gradient, arrays[f"d{name}"], rtol=1e-4, what=name)


@pytest.mark.parametrize("i", range(3))
def test_a_layer_with_a_ring_equals_the_reference(golden, i):
    arrays, cases = golden("padinv_layer")
    case = cases[i]
    layer = SynthesisLayer(case["in_channels"], case["out_channels"], 16, case["resolution"], case["up"])
    state = {"affine.weight": "affine_weight", "affine.bias": "affine_bias"}
    for name in ("weight", "bias", "noise_const", "noise_strength", "affine.weight", "affine.bias"):
        layer.state_dict()[name].copy_(leaf(arrays, f"{state.get(name, name)}{i}"))
    x, w, pad = (leaf(arrays, f"{name}{i}").requires_grad_() for name in ("x", "w", "pad"))
    y = layer(x, w, layer.noise_const[None, None], ring=ring_of(pad))
    assert_close(y, arrays[f"y{i}"], rtol=1e-4)
    assert_close(layer(x, w, layer.noise_const[None, None]), arrays[f"y_zero_padding{i}"], rtol=1e-4)
    gradients = torch.autograd.grad((y * leaf(arrays, f"g{i}")).sum(), [x, w, pad])
    for name, gradient in zip(("dx", "dw", "dpad"), gradients, strict=True):
        assert_close(gradient, arrays[f"{name}{i}"], rtol=1e-4, what=name)


@pytest.mark.parametrize("layer", [4, 5, 6, 7])
def test_images_with_features_equal_the_reference(golden, layer):
    arrays, cases = golden("fse_generator")
    G = golden_synthesis(arrays, cases[0])
    ws, values = leaf(arrays, "ws"), leaf(arrays, f"features{layer}")
    own = G.synthesis.layer_output(Latents(ws), stored_noise(G, 2), layer)
    assert_close(own, arrays[f"layer{layer}"], rtol=1e-4)
    assert_close(synthesize(G, Latents(ws, features=Features(values, layer))), arrays[f"img{layer}"], rtol=1e-4)
    if layer % 2 == 1:
        seen = Features(values, layer, in_image=True)
        assert_close(synthesize(G, Latents(ws, features=seen)), arrays[f"img_all_rgb{layer}"], rtol=1e-4)


def test_blended_features_and_their_gradients_equal_the_reference(golden):
    arrays, cases = golden("fse_generator")
    G = golden_synthesis(arrays, cases[0])
    ws, values = leaf(arrays, "ws").requires_grad_(), leaf(arrays, "features5").requires_grad_()
    own = G.synthesis.layer_output(Latents(ws), stored_noise(G, 2), 5)
    blended = Latents(ws, features=Features(own.lerp(values, 0.3), 5))
    assert_close(synthesize(G, blended), arrays["img5_scale0.3"], rtol=1e-4)
    images = synthesize(G, Latents(ws, features=Features(values, 5)))
    dws, dfeatures = torch.autograd.grad((images * leaf(arrays, "g")).sum(), [ws, values])
    assert_close(dws, arrays["dws"], rtol=1e-4)
    assert_close(dfeatures, arrays["dfeatures5"], rtol=1e-4)


def with_noise(G):
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.5)
    return G.eval()


def paddings(G, seed=0, layers=("conv1",), **changes):
    """Return random paddings of every block that has these layers, for two images."""
    rng = torch.Generator().manual_seed(seed)
    shapes = {name.removeprefix("padding."): shape for name, shape in G.code_shapes().items() if "padding." in name}
    tensors = {
        name: torch.randn(2, *shape, generator=rng)
        for name, shape in shapes.items()
        if name == "const" or name.endswith(tuple(layers))
    }
    return dataclasses.replace(Padding.from_tensors(tensors), **changes)


def zeros_like(padding):
    return Padding.from_tensors({name: torch.zeros_like(value) for name, value in padding.tensors().items()})


@pytest.mark.parametrize("layers", [("conv1",), ("conv0", "conv1")])
def test_zero_rings_and_the_own_constant_change_nothing(layers):
    G = with_noise(small_generator(32))
    ws = torch.randn(2, G.num_ws, G.w_dim)
    padding = zeros_like(paddings(G, layers=layers))
    own = dataclasses.replace(padding, const=G.synthesis.block(0).const.expand(2, -1, -1, -1))
    assert_close(synthesize(G, Latents(ws, padding=own)), synthesize(G, Latents(ws)), rtol=1e-5)
    assert torch.equal(synthesize(G, Latents(ws, padding=Padding())), synthesize(G, Latents(ws)))


def test_a_ring_has_every_outer_pixel_once_and_surrounds_what_it_was_taken_from():
    maps = torch.arange(2 * 3 * 25.0).reshape(2, 3, 5, 5)
    assert torch.equal(surround(maps[..., 1:-1, 1:-1], ring_of(maps)), maps)
    assert ring_of(maps).shape == (2, 3, 16)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_quality_composes_with_paddings_and_features(variant, architecture):
    G = quality_generator(variant, resolution=32, architecture=architecture)
    base = small_generator(32, architecture=architecture)
    base.load_state_dict(
        {
            name: G.state_dict()[name][: len(value)] if value.ndim else G.state_dict()[name]
            for name, value in base.state_dict().items()
        }
    )
    layer = max(int(name.split(".")[1]) for name in G.code_shapes() if name.startswith("features."))
    assert layer == 3  # b8.conv1, the last before the two blocks that have DegradBlocks
    ws, q = torch.randn(2, G.num_ws, G.w_dim), torch.randn(2, G.q_dim)
    codes = Latents(ws, q=q, padding=paddings(G), features=Features(torch.randn(2, 16, 8, 8), layer))
    noise = stored_noise(G, 2)
    sharp, degraded, plain = (image for image in render(G, codes, [None, q, 0 * q], noise))
    assert torch.equal(sharp, plain)
    assert_close(sharp, synthesize(base.eval(), codes.sharp()), rtol=1e-5)
    assert (degraded - sharp).abs().max() > 0.01
    both, _ = G.synthesis.twins(G.synthesis.content(codes, noise), q)
    assert_close(both, torch.cat([sharp, degraded]), rtol=1e-5)
    for row in range(2):
        assert_close(synthesize(G, codes.row(row)), degraded[row : row + 1], rtol=1e-4)


def test_the_residual_stays_linear_in_q_within_a_ring():
    for variant in ("paper", "paper+", "released"):
        G = quality_generator(variant)
        block = G.synthesis.block(-1)
        f, w, q = torch.randn(2, 16, 16, 16), torch.randn(2, 16), torch.randn(2, G.q_dim)
        noise, ring = G.synthesis.make_noise("const", 2)[-1], torch.randn(2, *block.conv1.ring_shape)
        _, residual = block.contents_and_residual(f, w, noise, q, ring)
        _, scaled = block.contents_and_residual(f, w, noise, 3 * q, ring)
        assert_close(scaled, 3 * residual, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("in_image", [False, True])
def test_the_own_features_give_the_own_image(architecture, in_image):
    G = with_noise(small_generator(32, architecture=architecture))
    latents = Latents(torch.randn(2, G.num_ws, G.w_dim), padding=paddings(G))
    image = synthesize(G, latents)
    for layer in range(1, 7):
        own = G.synthesis.layer_output(latents, stored_noise(G, 2), layer)
        assert own.shape[1:] == G.code_shapes()[f"features.{layer}"]
        codes = dataclasses.replace(latents, features=Features(own, layer, in_image))
        assert_close(synthesize(G, codes), image, rtol=1e-5, what=str(layer))
        # The codes' own features have no effect on what the layer makes.
        assert torch.equal(G.synthesis.layer_output(codes, stored_noise(G, 2), layer), own)


def test_even_layers_look_the_same_to_the_image_either_way():
    G = with_noise(small_generator(32))
    ws, values = torch.randn(2, G.num_ws, G.w_dim), torch.randn(2, 16, 16, 16)
    images = [synthesize(G, Latents(ws, features=Features(values, 4, in_image))) for in_image in (False, True)]
    assert torch.equal(*images)
    odd = [synthesize(G, Latents(ws, features=Features(values, 5, in_image))) for in_image in (False, True)]
    assert not torch.equal(*odd)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_low_precision_follows_float32_with_paddings_and_features(dtype):
    full = small_generator(32)
    low = small_generator(32, precision=PrecisionConfig(dtype=dtype, blocks=3))
    low.load_state_dict(full.state_dict())
    codes = Latents(
        4 * torch.randn(2, full.num_ws, full.w_dim),
        padding=paddings(full, layers=("conv0", "conv1")),
        features=Features(torch.randn(2, 16, 16, 16), 4),
    )
    assert_close(synthesize(low, codes), synthesize(full, codes), rtol=0.05)


def test_every_code_is_used_and_others_are_told():
    G = quality_generator(resolution=32)
    shapes = G.code_shapes()
    assert shapes["ws"] == (G.num_ws, G.w_dim) and shapes["q"] == (4,) and shapes["padding.const"] == (16, 4, 4)
    assert shapes["padding.b8.conv1"] == (16, 36) and shapes["padding.b8.conv0"] == (16, 40)
    assert [name for name in shapes if name.startswith("features.")] == ["features.1", "features.3", "features.2"]
    assert G.misfit(shapes) is None and G.misfit({"features.3.in_image": (16, 8, 8), "tuned.b4": (7,)}) is None
    assert G.misfit({"q": (5,)}) == "q of [5], not [4]"
    assert "features.4, which this network has no place for" in G.misfit({"features.4": (16, 16, 16)})
