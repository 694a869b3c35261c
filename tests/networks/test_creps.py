"""CREPS: the reference numbers, and the identities of a generator without a grid of pixels."""

import dataclasses

import pytest
import torch

from dnnlib.config import to_dict
from dnnlib.errors import UserError
from generation.rendering import render, synthesize
from networks.config import CrepsConfig, GeneratorConfig, MappingConfig, PrecisionConfig, QualityConfig
from networks.files import ImageFormat, build_generator, load_discriminator, load_generator
from networks.generators.coordinates import Coordinates, line
from networks.generators.creps.decoders import Decoder, fuse
from networks.generators.creps.layers import PlaceLayer
from networks.generators.creps.lines import FourierLines, LineBlock
from networks.generators.creps.synthesis import CLAMP
from networks.latents import Features, Latents, Padding
from tests.support.networks import SMALL, small_creps, write_network
from tests.support.runs import ALONE, batches, tiny_config, write_images
from tests.support.tolerance import assert_close
from training.losses import path_lengths
from training.trainer import Trainer

UNUSED = ("synthesis.b4.tores.", "synthesis.decoder_8.")  # of published files


def state_of(arrays, prefix):
    return {
        name.removeprefix(prefix): torch.tensor(arrays[name])
        for name in arrays.files
        if name.startswith(prefix) and not name.removeprefix(prefix).startswith(UNUSED)
    }


def loaded(module, arrays, prefix):
    module.load_state_dict(state_of(arrays, prefix), strict=True)
    return module.eval().requires_grad_(False)


def golden_creps(arrays, case):
    config = GeneratorConfig(
        kind="creps",
        z_dim=case["z_dim"],
        w_dim=case["w_dim"],
        channel_base=case["channel_base"],
        channel_max=case["channel_max"],
        mapping=MappingConfig(case["mapping_kwargs"]["num_layers"]),
        creps=CrepsConfig(channels=case["biline_channels"]),
    )
    G = build_generator(config, ImageFormat(case["img_resolution"], case["img_channels"], case["c_dim"]))
    return loaded(G, arrays, "state/")


def as_coordinates(arrays, case):
    if "y" in case:
        return Coordinates.of_points(torch.stack([torch.tensor(arrays[case[name]]) for name in "yx"], dim=2))
    return Coordinates(*torch.tensor(arrays[case["coords"]])[0, :, :, 0].unbind(1))


def quality_creps(**changes):
    G = small_creps(quality=QualityConfig(q_dim=4, channels=8, **changes))
    for name, parameter in G.named_parameters():
        if "convq" in name:
            parameter.normal_()
    return G


@pytest.fixture(scope="module")
def G():  # noqa: N802 - the field's name
    return small_creps()


@pytest.fixture
def ws(G):
    return torch.randn(2, G.num_ws, G.w_dim)


def test_the_generator_equals_the_reference(golden):
    arrays, cases = golden("creps_generator")
    G = golden_creps(arrays, cases[0])
    z = torch.tensor(arrays["z"])
    assert_close(G.mapping(z, None), arrays["ws"], what="ws")
    assert_close(G.mapping(z, None, truncation_psi=0.7), arrays["ws_trunc"], what="ws_trunc")
    assert_close(G(z), arrays["img_native"], what="img_native")
    for case in cases[1:]:
        images = G.synthesis(torch.tensor(arrays["wsp"]), coords=as_coordinates(arrays, case))
        assert_close(images, arrays[case["image"]], rtol=5e-5, what=case["image"])


def test_gradients_of_the_generator_equal_the_reference(golden):
    arrays, cases = golden("creps_generator")
    G = golden_creps(arrays, cases[0])
    ws = torch.tensor(arrays["wsp"]).requires_grad_()
    places = torch.tensor(arrays["coords_wsp_native"]).requires_grad_()
    images = G.synthesis(ws, coords=Coordinates(*places[0, :, :, 0].unbind(1)))
    gradients = torch.autograd.grad((images * torch.tensor(arrays["g"])).sum(), [ws, places])
    for name, gradient in zip(("dws", "dcoords"), gradients, strict=True):
        assert_close(gradient, arrays[name], rtol=1e-4, what=name)
    lengths = path_lengths(G.synthesis(ws), ws, torch.tensor(arrays["pl_noise"]))
    assert_close(lengths, arrays["pl_lengths"], rtol=1e-4)


def test_a_conditional_generator_equals_the_reference(golden):
    arrays, [case] = golden("creps_generator_cond")
    G = golden_creps(arrays, case)
    assert all(name.startswith(UNUSED) for name in case["unused"])
    z, c = torch.tensor(arrays["z"]), torch.tensor(arrays["c"])
    assert_close(G.mapping(z, c), arrays["ws"], what="ws")
    assert_close(G(z, c), arrays["img"], what="img")


def gradients_of(arrays, name, outputs, inputs, weights):
    total = sum((output * torch.tensor(arrays[weight])).sum() for output, weight in zip(outputs, weights, strict=True))
    for leaf, gradient in zip(inputs, torch.autograd.grad(total, list(inputs.values())), strict=True):
        assert_close(gradient, arrays[f"{name}_d{leaf}"], rtol=1e-4, what=leaf)


def leaves(arrays, prefix, *names):
    tensors = {name: torch.tensor(arrays[f"{prefix}_{name}"]) for name in names}
    return {name: _as_maps(value).requires_grad_() for name, value in tensors.items()}


def _as_maps(value):
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def as_line(y):
    """Return lines `[N, C, R, 2 D]` of reference numbers as ours, `[N, C, 2 R, D]`."""
    return torch.cat(torch.as_tensor(y).chunk(2, dim=3), dim=2)


def test_a_network_of_larger_images_is_the_base_at_denser_coordinates():
    base = small_creps()
    creps = dataclasses.replace(base.config.creps, last_block=16)
    larger = small_creps(resolution=32, creps=creps)
    larger.load_base(base)
    ws = torch.randn(2, base.num_ws, base.w_dim)
    assert torch.equal(larger.synthesis(ws), base.synthesis(ws, coords=Coordinates(line(32), line(32))))
    with pytest.raises(UserError, match=r"creps.last_block is 64, must be at most 32, the side of the images"):
        small_creps(resolution=32, creps=dataclasses.replace(creps, last_block=64))


def test_training_goes_on_with_larger_images_and_the_same_blocks(tmp_path):
    G = small_creps()
    base = write_network(tmp_path / "base.safetensors", G)
    creps = dataclasses.replace(G.config.creps, last_block=16)
    generator = to_dict(dataclasses.replace(G.config, creps=creps))
    images = write_images(tmp_path / "larger.zip", side=32)
    trainer = Trainer(tiny_config(images, base, mode="base", generator=generator), ImageFormat(32, 3, 0), ALONE)
    ws = torch.randn(2, G.num_ws, G.w_dim)
    assert torch.equal(trainer.G_ema.synthesis(ws), G.synthesis(ws, coords=Coordinates(line(32), line(32))))
    start, own = load_discriminator(base, "sharp").state_dict(), trainer.streams[0].D.state_dict()
    shared = {name for name in start if name in own}
    assert all(torch.equal(start[name], own[name]) for name in shared)
    assert {name.partition(".")[0] for name in own.keys() - shared} == {"b32"}
    assert {name.rpartition(".")[0] for name in start.keys() - shared} == {"b16.fromrgb"}
    before = trainer.G.synthesis.b8.fc0.weight.clone()
    trainer.step(next(batches(trainer.config, 0)))
    assert not torch.equal(trainer.G.synthesis.b8.fc0.weight, before)


def test_the_first_lines_equal_the_reference(golden):
    arrays, cases = golden("creps_pieces")
    case = cases[0]
    native = torch.zeros(case["resolution"])
    lines = FourierLines(case["channels"], case["w_dim"], case["rank"], case["bandwidth"], native)
    loaded(lines, arrays, "input_state/")
    inputs = leaves(arrays, "input", "w") | {"weight": lines.weight.requires_grad_()}
    y = lines(lines.native(), inputs["w"])
    assert_close(y, as_line(arrays["input_y"]))
    flat = torch.cat(y.chunk(2, dim=2), dim=3)
    gradients_of(arrays, "input", [flat], inputs, ["input_g"])


@pytest.mark.parametrize("i", [0, 1])
def test_layers_equal_the_reference(golden, i):
    arrays, cases = golden("creps_pieces")
    case, name = cases[1 + i], f"layer{i}"
    layer = PlaceLayer(case["in_channels"], case["out_channels"], case["w_dim"], case["fc_clamp"])
    loaded(layer, arrays, f"{name}_state/")
    inputs = leaves(arrays, name, "x", "w")
    y = layer(**inputs)
    assert_close(y, arrays[f"{name}_y"])
    gradients_of(arrays, name, [y], inputs, [f"{name}_g"])


def test_a_block_equals_the_reference(golden):
    arrays, cases = golden("creps_pieces")
    case = cases[3]
    sizes = case["in_channels"], case["out_channels"], case["lines_channels"], case["w_dim"]
    block = loaded(LineBlock(*sizes, CLAMP, torch.float32), arrays, "block_state/")
    inputs = leaves(arrays, "block", "x", "lines", "ws")
    y, lines = block(inputs["x"], inputs["lines"], inputs["ws"])
    assert_close(y, arrays["block_y"])
    assert_close(lines, arrays["block_y_lines"])
    gradients_of(arrays, "block", [y, lines], inputs, ["block_gy", "block_gy_lines"])


def test_fusion_equals_the_reference(golden):
    arrays, cases = golden("creps_pieces")
    decoder = loaded(Decoder(cases[4]["channels"]), arrays, "decoder_state/")
    inputs = leaves(arrays, "fusion", "lines", "feature")
    grid = Coordinates(torch.zeros(12), torch.zeros(12))
    product = fuse(as_line(inputs["lines"]), grid)
    assert_close(product, arrays["fusion_F"])
    total = decoder(inputs["feature"]) + product
    assert_close(total, arrays["fusion_E"])
    gradients_of(arrays, "fusion", [total], inputs, ["fusion_g"])


def test_points_are_the_grid(G, ws):
    grid = Coordinates(line(5), line(7, 0.2, 0.8))
    images = G.synthesis(ws, coords=grid)
    assert images.shape == (2, 3, 5, 7)
    assert_close(G.synthesis(ws, coords=Coordinates.of_points(grid.points())), images)
    listed = G.synthesis(ws, coords=Coordinates.of_points(grid.points().reshape(35, 2)))
    assert_close(listed, images.reshape(2, 3, 1, 35))


def test_the_native_grid_is_the_default(G, ws):
    assert torch.equal(G.synthesis(ws, coords=Coordinates(line(16), line(16))), G.synthesis(ws))


def test_windows_of_an_image_are_parts_of_it(G, ws):
    whole = G.synthesis(ws, coords=Coordinates(line(9), line(17)))
    window = Coordinates(line(5, 0, 0.5), line(9, 0.25, 0.75))
    assert_close(G.synthesis(ws, coords=window), whole[:, :, :5, 4:13])
    shifted = Coordinates(line(5, 0, 0.5), line(9, 0, 0.5)).shifted(0.25, 0.5)
    assert_close(G.synthesis(ws, coords=shifted), whole[:, :, 2:7, 8:])


def test_doubled_and_zoomed_in_is_zoomed_in_at_once(G, ws):
    """Every second pixel of the doubled image is the image, where sizes are 2^k + 1, whose grids coincide."""
    image, doubled = (G.synthesis(ws, coords=Coordinates(line(side), line(side))) for side in (9, 17))
    assert_close(doubled[:, :, ::2, ::2], image)


def test_pixel_centred_images_hold_the_places_of_smaller_ones():
    """A pixel of the image is the centre of 3x3 pixels of the threefold one."""
    G = small_creps(creps=CrepsConfig(channels=4, thickness=3, pixel_centred=True))
    ws = torch.randn(1, G.num_ws, G.w_dim)
    tripled = G.synthesis(ws, coords=Coordinates(G.synthesis.line(48), G.synthesis.line(48)))
    assert_close(tripled[:, :, 1::3, 1::3], G.synthesis(ws))


def test_flips_and_turns_of_the_image(G, ws):
    image, native = G.synthesis(ws), G.synthesis.native()
    assert_close(G.synthesis(ws, coords=native.flipped()), image.flip(3))
    for coords in (native, Coordinates.of_points(native.points())):
        assert_close(G.synthesis(ws, coords=coords.rotated(90)), image.rot90(1, (2, 3)), rtol=1e-4)
        assert_close(G.synthesis(ws, coords=coords.rotated(90).flipped()), image.rot90(1, (2, 3)).flip(3), rtol=1e-4)


@pytest.mark.parametrize("pixels", [1, 20, 10_000])
@pytest.mark.parametrize("is_grid", [True, False])
def test_strips_are_the_whole(G, ws, pixels, is_grid, monkeypatch):
    monkeypatch.setattr("networks.generators.creps.synthesis.STRIP_PLACES", 4)
    coords = Coordinates(line(11), line(6))
    coords = coords if is_grid else coords.rotated(30)
    strips = list(G.synthesis.strips(ws, coords, 2 * pixels))  # of two images
    assert len(strips) == {1: 11, 20: 4, 10_000: 1}[pixels]
    assert_close(torch.cat(strips, dim=2), G.synthesis(ws, coords=coords), rtol=1e-6)


@pytest.mark.parametrize("pixels", [1, 150, 900])
def test_strips_of_a_grid_are_the_whole_bit_for_bit(G, ws, pixels):
    coords = Coordinates(line(40), line(32))
    strips = list(G.synthesis.strips(ws, coords, 2 * pixels))  # of two images
    assert len(strips) > 1 and torch.equal(torch.cat(strips, dim=2), G.synthesis(ws, coords=coords))


def test_products_of_lines_are_the_same_with_and_without_gradients(G, ws):
    coords = Coordinates(line(11), line(6))
    without = G.synthesis(ws, coords=coords)
    assert_close(G.synthesis(ws.requires_grad_(), coords=coords), without, rtol=1e-6)


@pytest.mark.parametrize("composition", ["none", "sum", "decoders"])
def test_compositions_have_the_weights_they_use(composition):
    G = small_creps(creps=CrepsConfig(channels=4, thickness=2, composition=composition)).requires_grad_(True)
    images = G(torch.randn(2, G.z_dim))
    gradients = torch.autograd.grad(images.square().sum(), list(G.parameters()))
    assert all(gradient.any() for gradient in gradients)
    assert any("decoder_16" in name for name in G.state_dict()) == (composition == "decoders")


def test_one_fusion_at_the_end_is_the_sum_of_all_where_only_the_last_is_not_zero():
    none, total = (
        small_creps(creps=CrepsConfig(channels=4, thickness=2, composition=name)) for name in ("none", "sum")
    )
    total.load_state_dict(none.state_dict())
    z = torch.randn(2, 16)
    assert not torch.allclose(none(z), total(z))
    for G in (none, total):
        G.synthesis.b8.tores.weight.zero_()
    assert_close(total(z), none(z))


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_low_precision_follows_float32(dtype):
    full, low = small_creps(), small_creps(precision=PrecisionConfig(dtype=dtype))
    low.load_state_dict(full.state_dict())
    z = torch.randn(2, 16)
    assert low(z).dtype == torch.float32
    assert_close(low(z), full(z), rtol=0.05)


def test_activations_are_clamped():
    G = small_creps(precision=PrecisionConfig(conv_clamp=0.5))
    content = G.synthesis.content(Latents(100 * torch.randn(1, G.num_ws, 16)), [])
    features = G.synthesis.features(content)
    bounded = [x for index, x in enumerate(features) if index != G.synthesis.compose_at]
    assert len(bounded) == 5 and all(x.abs().max() <= 0.5 for x in bounded)


def test_files_hold_the_kind_and_its_fields(tmp_path):
    G = build_generator(dataclasses.replace(SMALL, kind="creps"), ImageFormat(16, 3, 0)).eval()
    loaded, _ = load_generator(write_network(tmp_path / "creps.safetensors", G))
    assert loaded.config.creps == CrepsConfig() and loaded.config.kind == "creps"
    z = torch.randn(1, 16)
    assert torch.equal(loaded(z), G(z))


REFUSALS = {
    "a side of 4": (4, {}, "resolution is 4, must be at least 8"),
    "odd channels": (16, {"channel_max": 7}, "generator.channel_max is 7, must be even"),
    "noise in DegradBlocks": (16, {"quality": QualityConfig(variant="paper+")}, "quality.variant is paper.*or adain"),
    "DegradBlocks on lines": (16, {"quality": QualityConfig(blocks=3)}, "quality.blocks is 3, must be 1 or 2"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name):
    side, changes, sentence = REFUSALS[name]
    with pytest.raises(UserError, match=sentence):
        small_creps(side, **changes)


@pytest.mark.parametrize("changes", [{"thickness": 0}, {"channels": 0}, {"bandwidth": 0.0}])
def test_refusals_of_fields(changes):
    with pytest.raises(UserError, match=f"creps.{next(iter(changes))} is 0"):
        CrepsConfig(**changes)


def test_other_kinds_refuse_fields_of_creps():
    with pytest.raises(UserError, match="generator.creps is set for generator.kind=stylegan2; add --generator=creps"):
        dataclasses.replace(SMALL, creps=CrepsConfig())


def test_codes_other_than_w_have_no_place(G, ws):
    assert G.code_shapes() == {"ws": (7, 16)}
    assert G.misfit({"padding.const": (16, 4, 4)}) == "padding.const, which this network has no place for"
    with pytest.raises(AssertionError, match="no paddings"):
        synthesize(G, Latents(ws, padding=Padding(torch.zeros(2, 16, 4, 4))))
    with pytest.raises(AssertionError, match="no features"):
        synthesize(G, Latents(ws, features=Features(torch.zeros(2, 16, 8, 8), 3)))
    with pytest.raises(AssertionError, match="no features"):
        G.synthesis.layer_output(Latents(ws), [], 3)


@pytest.mark.parametrize("changes", [{}, {"blocks": 1}, {"variant": "adain"}])
def test_without_quality_the_image_is_the_plain_generators(changes):
    G, plain = quality_creps(**changes), small_creps()
    plain.load_state_dict({name: G.state_dict()[name] for name in plain.state_dict()})
    ws, q = torch.randn(2, G.num_ws, 16), torch.randn(2, 4)
    sharp, degraded, twice = render(G, Latents(ws), [None, q, 2 * q])
    assert torch.equal(sharp, plain.synthesis(ws))
    assert (degraded - sharp).abs().max() > 0.01 and not torch.allclose(twice, degraded)
    coords = G.synthesis.native().flipped()
    assert torch.equal(G.synthesis(ws, 0 * q, coords=coords), plain.synthesis(ws, coords=coords))


def test_the_residual_is_homogeneous_in_q():
    block = quality_creps().synthesis.block1
    width = block.fc0.weight.shape[1]
    f_in, q = torch.randn(2, width, 6, 6).contiguous(memory_format=torch.channels_last), torch.randn(2, 4)
    img, w = torch.zeros(2, 3, 6, 6), torch.randn(2, 16)
    residuals = []
    for strength in (1, 3):
        features, _ = block(f_in, img, w, strength * q)
        residuals.append(features - block(f_in, img, w)[0])
    assert_close(residuals[1], 3 * residuals[0], rtol=1e-4)


def test_what_a_quality_code_trains():
    G = quality_creps().requires_grad_(True)
    G.freeze_trunk()
    assert {name.split(".")[1] for name in G.trainable_parameters()} == {"block0", "block1"}
    G.freeze_plain()
    assert all(".degrade." in name for name in G.trainable_parameters())
    base = small_creps()
    G.load_base(base)
    z = torch.randn(1, 16)
    assert torch.equal(G(z), base(z))
