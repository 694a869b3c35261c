"""Published networks of every format compute the same here, and what does not fit is refused in one sentence."""

import math
import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from dnnlib.registry import Registry
from networks.config import QualityConfig
from networks.published.assemble import assemble
from networks.published.contents import CLASSES, NetworkContent, Published
from tests.support import stand_ins
from tests.support.networks import golden_discriminator, golden_generator, small_creps, small_generator
from tests.support.tolerance import assert_close
from torch_utils.ops.upfirdn2d import setup_filter, upsample2d
from torch_utils.untrusted.torch_files import read_inert

FORMATS = Registry("networks.published.formats", "format")


def imported(path, expected_format):
    """Return the networks in a file, which exactly one format recognises."""
    file = read_inert(path, CLASSES)
    known = [name for name in FORMATS.names() if FORMATS.get(name).recognises(file.content)]
    assert known == [expected_format]
    return assemble(FORMATS.get(expected_format).read(file))


def refusal(path, expected_format):
    with pytest.raises(UserError) as caught:
        imported(path, expected_format)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def reference_generator(golden, name, quality=None):
    arrays, [case] = golden(name)
    return arrays, golden_generator(arrays, case, quality)


def reference_discriminator(golden, name):
    arrays, [case] = golden(f"discriminator_{name}")
    return arrays, golden_discriminator(arrays, case)


def assert_golden_images(G, arrays):
    z, c = torch.tensor(arrays["z"]), torch.tensor(arrays["c"])
    assert_close(G(z, c, noise_mode="const"), arrays["img_const"], what="img_const")
    assert_close(G(z, c, noise_mode="none"), arrays["img_none"], what="img_none")
    assert_close(G(z, c, truncation_psi=0.7, noise_mode="const"), arrays["img_trunc"], what="img_trunc")


def assert_golden_logits(D, arrays):
    assert_close(D(torch.tensor(arrays["x"]), torch.tensor(arrays["c"])), arrays["logits"], what="logits")


# Pickles of StyleGAN2-ADA and of StyleGAN3's repository.


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("name", ["skip", "resnet", "cond"])
@pytest.mark.parametrize("spelling", [stand_ins.ada_generator, stand_ins.stylegan3_generator])
def test_persistent_generators(golden, tmp_path, name, spelling, protocol):
    arrays, G = reference_generator(golden, f"generator_{name}")
    path = stand_ins.write_pickle(tmp_path / "G.pkl", {"G_ema": spelling(G)}, protocol)
    loaded, discriminators = imported(path, "stylegan2_ada")
    assert discriminators == {}
    assert loaded.config.precision.conv_clamp == G.config.precision.conv_clamp
    assert_golden_images(loaded, arrays)


@pytest.mark.parametrize("name", ["orig", "skip", "resnet", "cond"])
def test_persistent_discriminators(golden, tmp_path, name):
    arrays, D = reference_discriminator(golden, name)
    G = small_generator_like(D)
    path = stand_ins.write_pickle(tmp_path / "networks.pkl", stand_ins.ada_content(G, D))
    _, discriminators = imported(path, "stylegan2_ada")
    assert discriminators["sharp"].config == D.config
    assert_golden_logits(discriminators["sharp"], arrays)


def small_generator_like(D):
    G = small_generator(D.img_resolution)
    return type(G)(G.config, D.c_dim, D.img_resolution, D.img_channels).eval()


def test_the_released_generator(golden, tmp_path):
    arrays, G = reference_generator(golden, "qc_released_generator", QualityConfig(variant="released"))
    sharp, degraded = (reference_discriminator(golden, "resnet")[1] for _ in range(2))
    with torch.no_grad():
        degraded.b4.out.bias.add_(1)
    path = stand_ins.write_pickle(tmp_path / "qc.pkl", stand_ins.ada_content(G, sharp, degraded), 3)
    loaded, discriminators = imported(path, "stylegan2_ada")
    assert loaded.config.quality == QualityConfig(variant="released", channels=16)
    ws, q = torch.tensor(arrays["ws"]), torch.tensor(arrays["q"])
    assert_close(loaded.synthesis(ws, noise_mode="const"), arrays["img_q0"], what="img_q0")
    assert_close(loaded.synthesis(ws, q, noise_mode="const"), arrays["img_q"], what="img_q")
    assert_close(loaded.synthesis(ws, 2.5 * q, noise_mode="const"), arrays["img_2p5q"], what="img_2p5q")
    x = torch.randn(4, 3, 32, 32)
    assert_close(discriminators["degraded"](x), discriminators["sharp"](x) + 1)


@pytest.mark.parametrize("activations", [("relu", "relu", "linear"), ("relu", "relu", "relu"), (None, None, None)])
@pytest.mark.parametrize("container", ["Sequential", "ModuleList"])
def test_convolutions_of_a_degrad_block_have_an_activation_of_their_own(golden, tmp_path, activations, container):
    arrays, G = reference_generator(golden, "qc_released_generator", QualityConfig(variant="released"))
    record = stand_ins.ada_generator(G)
    for side in (16, 32):
        block = state_of(record, "synthesis", f"b{side}")["_modules"]
        layers = state_of(block["convq"])["_modules"]
        for layer, activation in zip(layers.values(), activations, strict=True):
            state_of(layer)["activation"] = activation
        block["convq"] = stand_ins.Instance("torch.nn.modules.container", container, {"_modules": layers})
    loaded, _ = imported(stand_ins.write_pickle(tmp_path / "qc.pkl", {"G_ema": record}), "stylegan2_ada")
    ws, q = torch.tensor(arrays["ws"]), torch.tensor(arrays["q"])
    assert_close(loaded.synthesis(ws, q, noise_mode="const"), arrays["img_q"], what="img_q")


def test_a_layer_without_noise_may_say_so(tmp_path):
    G = small_creps()
    record = stand_ins.persistent_network(G, "Generator")
    state_of(record, "synthesis", "b8", "fc0").update(use_noise=False, activation="lrelu", conv_clamp=100)
    loaded, _ = imported(stand_ins.write_pickle(tmp_path / "creps.pkl", {"G_ema": record}), "stylegan2_ada")
    assert loaded.config.precision.conv_clamp == 100
    z = torch.randn(2, G.z_dim)
    assert torch.equal(loaded(z), G(z))


def test_the_moving_average_comes_first_and_a_bare_network_will_do(tmp_path):
    G, average = small_generator().eval(), small_generator().eval()
    content = {"G": stand_ins.ada_generator(G), "G_ema": stand_ins.ada_generator(average)}
    both = imported(stand_ins.write_pickle(tmp_path / "both.pkl", content), "stylegan2_ada")[0]
    bare = imported(stand_ins.write_pickle(tmp_path / "bare.pkl", content["G"]), "stylegan2_ada")[0]
    assert torch.equal(both.synthesis.b4.const, average.synthesis.b4.const)
    assert torch.equal(bare.synthesis.b4.const, G.synthesis.b4.const)


def test_what_shapes_do_not_tell_comes_from_arguments_and_attributes(tmp_path):
    G = small_generator().eval()
    options = {"channel_base": 300, "channel_max": 16, "num_fp16_res": 3}  # 300 // 16 > 16: the same network
    record = stand_ins.stylegan3_generator(G, mapping_kwargs={"lr_multiplier": 0.5}, **options)
    attributes = record.reduced[1][0]["state"]
    attributes["_modules"]["mapping"].reduced[1][0]["state"]["w_avg_beta"] = 0.998
    config = imported(stand_ins.write_pickle(tmp_path / "G.pkl", record), "stylegan2_ada")[0].config
    assert (config.mapping.lr_multiplier, config.mapping.w_avg_beta) == (0.5, 0.998)
    assert (config.channel_base, config.precision.dtype, config.precision.blocks) == (300, "fp32", 3)


def test_half_precision_is_widened(tmp_path):
    G = small_generator().eval()
    record = stand_ins.persistent_network(G, "Generator", dtype=torch.float16)
    loaded = imported(stand_ins.write_pickle(tmp_path / "G.pkl", record), "stylegan2_ada")[0]
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    assert torch.equal(loaded.synthesis.b4.const, G.synthesis.b4.const.half().float())


def test_discriminators_converted_from_tensorflow(golden, tmp_path):
    """Their multiplier for layers that embed a class matters only where there are such layers."""
    arrays, D = reference_discriminator(golden, "resnet")
    G = stand_ins.ada_generator(small_generator_like(D))
    content = {"G_ema": G, "D": stand_ins.converted_discriminator(D), "training_set_kwargs": None}
    _, discriminators = imported(stand_ins.write_pickle(tmp_path / "n.pkl", content), "stylegan2_ada")
    assert_golden_logits(discriminators["sharp"], arrays)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_networks_of_some_size_are_within_the_limits(tmp_path, protocol):
    """Of several megabytes, where the slack for small files helps no more."""
    G = small_generator(channel_base=1024, channel_max=128).eval()
    content = {"G": stand_ins.ada_generator(G), "G_ema": stand_ins.ada_generator(G)}
    path = stand_ins.write_pickle(tmp_path / "n.pkl", content, protocol)
    assert path.stat().st_size > 4 << 20
    loaded = imported(path, "stylegan2_ada")[0]
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in G.state_dict().items())


# State dicts.


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_state_dicts(golden, tmp_path, legacy, wrapped):
    arrays, G = reference_generator(golden, "generator_skip")
    content = {"state_dict": G.state_dict(), "epoch": 3} if wrapped else G.state_dict()
    torch.save(content, tmp_path / "teacher.pth.tar", _use_new_zipfile_serialization=not legacy)
    loaded, discriminators = imported(tmp_path / "teacher.pth.tar", "state_dict")
    assert discriminators == {}
    assert_golden_images(loaded, arrays)


@settings(max_examples=20)
@given(st.data())
def test_every_name_of_a_state_dict_counts(tmp_path, data):
    state = small_generator().state_dict()
    name = data.draw(st.sampled_from([name for name in state if "resample_filter" not in name]))
    del state[name]
    torch.save(state, tmp_path / "G.pt")
    file = read_inert(tmp_path / "G.pt", CLASSES)
    if name in ("mapping.w_avg", "synthesis.b4.const"):
        return  # the mean is estimated, and without the constant it is not known as a generator
    with pytest.raises(UserError, match="lacks|shape|which this program's networks do not have"):
        assemble(FORMATS.get("state_dict").read(file))


# The PyTorch port.


def port_content(G, D=None, **changes):
    state, average = stand_ins.port_generator(G)
    content = {"g_ema": OrderedDict(state), "latent_avg": average, "g_optim": {"state": {0: torch.zeros(3)}}}
    return content | ({} if D is None else {"d": stand_ins.port_discriminator(D)}) | changes


@pytest.mark.parametrize("legacy", [False, True])
def test_the_port(golden, tmp_path, legacy):
    arrays, G = reference_generator(golden, "generator_skip")
    arrays_d, D = reference_discriminator(golden, "resnet")
    torch.save(port_content(G, D), tmp_path / "port.pt", _use_new_zipfile_serialization=not legacy)
    loaded, discriminators = imported(tmp_path / "port.pt", "rosinality")
    assert_golden_images(loaded, arrays)
    assert_golden_logits(discriminators["sharp"], arrays_d)


def equal_rate(weight):
    return weight / math.sqrt(weight[0].numel())


def port_modulated(state, place, x, w, up=False, demodulate=True):
    """The port's convolution: weights of each image, and a transposed convolution where it enlarges."""
    style = w @ equal_rate(state[f"{place}.modulation.weight"]).t() + state[f"{place}.modulation.bias"]
    weight = state[f"{place}.weight"]
    weight = weight / math.sqrt(weight[0, 0].numel()) * style[:, None, :, None, None]  # [N, out, in, k, k]
    if demodulate:
        weight = weight / (weight.square().sum([2, 3, 4], keepdim=True) + 1e-8).sqrt()
    if up:
        pairs = zip(x, weight.transpose(1, 2), strict=True)
        y = torch.cat([F.conv_transpose2d(a[None], b, stride=2) for a, b in pairs])
        return port_filtered(y, state[f"{place}.blur.kernel"], (1, 1))
    padding = weight.shape[-1] // 2
    return torch.cat([F.conv2d(a[None], b, padding=padding) for a, b in zip(x, weight, strict=True)])


def port_filtered(x, kernel, padding):
    x = F.pad(x, (*padding, *padding))
    kernel = kernel.flip([0, 1])[None, None].repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(x, kernel, groups=x.shape[1])


def port_images(state, z):
    """The port's generator, written from its conventions for a file's own tensors."""
    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for index in range(1, 1 + sum(name.startswith("style.") for name in state) // 2):
        weight, bias = state[f"style.{index}.weight"], state[f"style.{index}.bias"]
        w = F.leaky_relu(w @ equal_rate(weight).t() * 0.01 + bias * 0.01, 0.2) * math.sqrt(2)

    def styled(place, x, number, up=False):
        x = port_modulated(state, f"{place}.conv", x, w, up)
        x = x + state[f"{place}.noise.weight"] * state[f"noises.noise_{number}"]
        return F.leaky_relu(x + state[f"{place}.activate.bias"][:, None, None], 0.2) * math.sqrt(2)

    def image(place, x):
        return port_modulated(state, f"{place}.conv", x, w, demodulate=False) + state[f"{place}.bias"]

    x = styled("conv1", state["input.input"].repeat(len(z), 1, 1, 1), 0)
    picture = image("to_rgb1", x)
    for level in range(sum(name.endswith("upsample.kernel") for name in state)):
        x = styled(f"convs.{2 * level}", x, 2 * level + 1, up=True)
        x = styled(f"convs.{2 * level + 1}", x, 2 * level + 2)
        stuffed = torch.zeros(*picture.shape[:2], 2 * picture.shape[2], 2 * picture.shape[3])
        stuffed[:, :, ::2, ::2] = picture
        picture = port_filtered(stuffed, state[f"to_rgbs.{level}.upsample.kernel"], (2, 1))
        picture = picture + image(f"to_rgbs.{level}", x)
    return picture


def port_logits(state, x):
    """The port's discriminator, in the same way."""

    def activated(x, bias):
        return F.leaky_relu(x + bias[:, None, None], 0.2) * math.sqrt(2)

    x = activated(F.conv2d(x, equal_rate(state["convs.0.0.weight"])), state["convs.0.1.bias"])
    for index in range(1, sum(name.endswith("skip.1.weight") for name in state) + 1):
        block = f"convs.{index}"
        y = F.conv2d(x, equal_rate(state[f"{block}.conv1.0.weight"]), padding=1)
        y = port_filtered(activated(y, state[f"{block}.conv1.1.bias"]), state[f"{block}.conv2.0.kernel"], (2, 2))
        y = F.conv2d(y, equal_rate(state[f"{block}.conv2.1.weight"]), stride=2)
        y = activated(y, state[f"{block}.conv2.2.bias"])
        shortcut = port_filtered(x, state[f"{block}.skip.0.kernel"], (1, 1))
        shortcut = F.conv2d(shortcut, equal_rate(state[f"{block}.skip.1.weight"]), stride=2)
        x = (y + shortcut) / math.sqrt(2)
    images = len(x)
    groups = x.reshape(min(4, images), -1, *x.shape[1:])
    spread = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean([1, 2, 3])
    x = torch.cat([x, spread[:, None, None, None].repeat(min(4, images), 1, 4, 4)], 1)
    x = activated(F.conv2d(x, equal_rate(state["final_conv.0.weight"]), padding=1), state["final_conv.1.bias"]).flatten(
        1
    )
    x = x @ equal_rate(state["final_linear.0.weight"]).t() + state["final_linear.0.bias"]
    x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    return x @ equal_rate(state["final_linear.1.weight"]).t() + state["final_linear.1.bias"]


def test_the_stand_in_for_the_port_follows_its_conventions(golden):
    arrays, G = reference_generator(golden, "generator_skip")
    state, _ = stand_ins.port_generator(G)
    assert_close(port_images(state, torch.tensor(arrays["z"])), arrays["img_const"])
    arrays, D = reference_discriminator(golden, "resnet")
    assert_close(port_logits(stand_ins.port_discriminator(D), torch.tensor(arrays["x"])), arrays["logits"])


def test_the_port_without_its_mean_of_w_gets_one_from_its_mapping(golden, tmp_path):
    arrays, G = reference_generator(golden, "generator_skip")
    content = port_content(G)
    del content["latent_avg"]
    torch.save(content, tmp_path / "port.pt")
    loaded = imported(tmp_path / "port.pt", "rosinality")[0]
    w = G.mapping(torch.randn(20_000, G.z_dim), None)[:, 0]
    assert (loaded.mapping.w_avg - w.mean(0)).abs().max() < 5 * w.std() / math.sqrt(10_000)
    assert loaded.mapping.w_avg.abs().max() > 0


# TensorFlow.


@pytest.mark.parametrize(("name", "stream"), [("skip", "resnet"), ("resnet", "orig"), ("resnet", "skip")])
def test_tensorflow(golden, tmp_path, name, stream):
    arrays, G = reference_generator(golden, f"generator_{name}")
    arrays_d, D = reference_discriminator(golden, stream)
    content = stand_ins.tf_discriminator(D), stand_ins.tf_generator(G)
    content = content[1], content[0], content[1]
    loaded, discriminators = imported(stand_ins.write_pickle(tmp_path / "tf.pkl", content), "tensorflow")
    assert loaded.config.mapping.w_avg_beta == 0.99
    assert_golden_images(loaded, arrays)
    assert_golden_logits(discriminators["sharp"], arrays_d)


def test_an_enlarging_convolution_of_tensorflow_is_upsampling_then_convolution(golden):
    """Which is how it is defined there; its convolution correlates. Borders are padded at another moment."""
    _, G = reference_generator(golden, "generator_skip")
    weight = dict(stand_ins.tf_generator(G).reduced[2]["components"]["synthesis"].reduced[2]["variables"])
    weight = torch.tensor(weight["8x8/Conv0_up/weight"].copy()).permute(3, 2, 0, 1)
    layer, w, x = G.synthesis.b8.conv0, torch.randn(1, G.w_dim), torch.randn(1, 32, 9, 9)
    styles = layer.affine(w)
    enlarged = upsample2d(x * styles[:, :, None, None], setup_filter([1, 3, 3, 1]))
    demodulation = (weight.square().sum([2, 3]) @ styles[0].square()).rsqrt()
    y = F.conv2d(enlarged, weight, padding=1) * demodulation[:, None, None]
    expected = F.leaky_relu(y + layer.bias[:, None, None], 0.2) * math.sqrt(2)
    assert_close(layer(x, w, None)[:, :, 3:-3, 3:-3], expected[:, :, 3:-3, 3:-3])


# What is refused.


def state_of(record, *path):
    for name in path:
        record = record.reduced[1][0]["state"]["_modules"][name]
    return record.reduced[1][0]["state"]


CONV = "synthesis", "b8", "conv0"


def ada(change):
    """Return a writer of a generator of StyleGAN2-ADA that a function has changed."""

    def write(folder, golden):
        record = stand_ins.ada_generator(small_generator().eval())
        change(record)
        return stand_ins.write_pickle(folder / "ada.pkl", record)

    return write


def with_option(**options):
    return ada(lambda record: state_of(record)["_init_kwargs"]["synthesis_kwargs"].update(options))


def with_parameter(**parameters):
    return ada(lambda record: state_of(record, *CONV)["_parameters"].update(parameters))


def clamp_differently(record):
    state_of(record, *CONV).update(conv_clamp=3)
    state_of(record, "synthesis", "b4", "conv1").update(conv_clamp=4)


def with_attribute(*path, **attributes):
    """Return a writer of a generator, a module of which says something else of itself."""
    return ada(lambda record: state_of(record, *path).update(attributes))


def with_convq(activation):
    def write(folder, golden):
        _, G = reference_generator(golden, "qc_released_generator", QualityConfig(variant="released"))
        record = stand_ins.ada_generator(G)
        state_of(record, "synthesis", "b32", "convq", "0")["activation"] = activation
        return stand_ins.write_pickle(folder / "ada.pkl", record)

    return write


def with_group(group, **options):
    """Return a writer of a discriminator, one group of whose arguments has another option than the group behind it."""

    def change(D):
        record = stand_ins.converted_discriminator(D)
        state_of(record)["_init_kwargs"][group].update(options)
        return {"G": stand_ins.ada_generator(small_generator_like(D)), "D": record}

    return content_with(change)


def nest_forever(record):
    modules = {}
    modules["itself"] = stand_ins.Instance("torch.nn.modules.container", "ModuleList", {"_modules": modules})
    state_of(record)["_modules"]["list"] = modules["itself"]


def content_with(make):
    """Return a writer of what a function makes of a discriminator."""

    def write(folder, golden):
        _, D = reference_discriminator(golden, "resnet")
        return stand_ins.write_pickle(folder / "ada.pkl", make(D))

    return write


def write_converted_conditional(folder, golden):
    """Its multiplier for the layers that embed a class is another one, and matters."""
    _, D = reference_discriminator(golden, "cond")
    content = {"G_ema": stand_ins.ada_generator(small_generator_like(D)), "D": stand_ins.converted_discriminator(D)}
    return stand_ins.write_pickle(folder / "ada.pkl", content)


def write_alias_free(folder, golden):
    entry = stand_ins.persistent("SynthesisInput", {"_buffers": {"freqs": torch.zeros(8, 2)}})
    synthesis = stand_ins.persistent("SynthesisNetwork", {"_modules": {"input": entry}})
    G = stand_ins.persistent("Generator", {"_modules": {"synthesis": synthesis}})
    return stand_ins.write_pickle(folder / "ada.pkl", {"G_ema": G})


def port(name, value):
    """Return a writer of the port's file with one more or another tensor."""

    def write(folder, golden):
        content = port_content(small_generator().eval())
        content["g_ema"][name] = value
        torch.save(content, folder / "port.pt")
        return folder / "port.pt"

    return write


def tensorflow(**options):
    def write(folder, golden):
        _, D = reference_discriminator(golden, "orig")
        G = stand_ins.tf_generator(small_generator().eval(), **options)
        return stand_ins.write_pickle(folder / "tf.pkl", (G, stand_ins.tf_discriminator(D), G))

    return write


def write_tensorflow_with_another_variable(folder, golden):
    G, D = stand_ins.tf_generator(small_generator().eval()), stand_ins.tf_network({}, {})
    G.reduced[2]["components"]["mapping"].reduced[2]["variables"].append(("LabelConcat/weight", np.zeros((3, 16))))
    return stand_ins.write_pickle(folder / "tf.pkl", (G, D, G))


def write_tensorflow_that_contradicts_itself(folder, golden):
    _, D = reference_discriminator(golden, "orig")
    G = stand_ins.tf_generator(small_generator().eval(), normalize_latents=True)
    G.reduced[2]["components"]["mapping"].reduced[2]["static_kwargs"]["normalize_latents"] = False
    return stand_ins.write_pickle(folder / "tf.pkl", (G, stand_ins.tf_discriminator(D), G))


def write_tensorflow_without_parts(folder, golden):
    nothing, D = (stand_ins.tf_network({}, {}) for _ in range(2))
    return stand_ins.write_pickle(folder / "tf.pkl", (nothing, D, nothing))


WHICH = ", which this program"
OPTION = "^has a network with the option "
REFUSALS = {
    f"{OPTION}'use_noise' = False{WHICH}": with_option(use_noise=False),
    f"{OPTION}'resample_filter' = a list": with_option(resample_filter=[1, 2, 1]),
    f"{OPTION}'activation' = 'relu'": with_option(activation="relu"),
    f"{OPTION}'magnitude_ema_beta' = 0.99": with_option(magnitude_ema_beta=0.99),
    f"{OPTION}'lr_multiplier' = 0.5{WHICH}": with_option(lr_multiplier=0.5),
    f"{OPTION}'activation' = 'linear'{WHICH}": with_attribute(*CONV, activation="linear"),
    f"{OPTION}'activation' = 'lrelu'{WHICH}": with_attribute(*CONV, "affine", activation="lrelu"),
    f"{OPTION}'activation' = 'swish'{WHICH}": with_convq("swish"),
    f"{OPTION}'activation' = 'sigmoid'{WHICH}": with_group("mapping_kwargs", activation="sigmoid"),
    f"{OPTION}'use_noise' = False, which": with_attribute(*CONV, use_noise=False),
    "^clamps activations at 3, but not in 'synthesis.b4.conv1'; this program's networks clamp": with_attribute(
        *CONV, conv_clamp=3
    ),
    r"in the shape \[16, 16, 3, 3\], a network of its kind needs \[8, 16, 3, 3\]": with_option(channel_base=128),
    "^has a network of up to 16 channels, none has more than 1048576": with_option(channel_base=1 << 40),
    "^lacks the tensor synthesis.b8.conv0.noise_const, which a network of its kind needs$": ada(
        lambda record: state_of(record, *CONV)["_buffers"].pop("noise_const")
    ),
    "^has the tensor 'synthesis.b8.conv0.extra', which this program's networks do not have$": with_parameter(
        extra=torch.zeros(1)
    ),
    r"^has the tensor synthesis.b8.conv0.bias in the shape \[3\], a network of its kind needs \[16\]$": with_parameter(
        bias=torch.zeros(3)
    ),
    "^has 'text' in the place of the tensor 'synthesis.b8.conv0.bias'; it is no network$": with_parameter(bias="text"),
    r"^resamples with another filter than \[1, 3, 3, 1\] in synthesis.b8.conv0.resample_filter$": ada(
        lambda record: state_of(record, *CONV)["_buffers"].update(resample_filter=torch.eye(4) / 4)
    ),
    "^lacks the tensor mapping.fc0.weight; it is no whole network$": ada(
        lambda record: state_of(record, "mapping")["_modules"].pop("fc0")
    ),
    r"^clamps activations at different values \(4, 3\)": ada(clamp_differently),
    "^has modules within modules beyond any network; it is not opened$": ada(nest_forever),
    f"{OPTION}'lr_multiplier' = 0.1{WHICH}": write_converted_conditional,
    "^has an alias-free generator of StyleGAN3; only": write_alias_free,
    "do not fit together": content_with(lambda D: stand_ins.ada_content(small_generator().eval(), D)),
    r"^has no generator \(G_ema or G\) in it$": content_with(lambda D: {"D": stand_ins.ada_discriminator(D)}),
    "has a 'Discriminator' in the place of a Generator$": content_with(lambda D: {"G": stand_ins.ada_discriminator(D)}),
    "has the tensor 'convs.0.conv.kernel_size', which": port("convs.0.conv.kernel_size", torch.ones(1)),
    "has the tensor 'strange', which this": port("strange", torch.ones(1)),
    r"another filter than \[1, 3, 3, 1\] in 'convs.0.conv.blur.kernel'": port("convs.0.conv.blur.kernel", torch.eye(4)),
    r"another filter than \[1, 3, 3, 1\] in 'to_rgbs.0.upsample.kernel'": port(
        "to_rgbs.0.upsample.kernel", stand_ins.FILTER
    ),
    r"synthesis.b4.conv1.bias in the shape \[3\]": port("conv1.activate.bias", torch.ones(3)),
    f"{OPTION}'nonlinearity' = 'relu'{WHICH}": tensorflow(nonlinearity="relu"),
    f"{OPTION}'normalize_latents' = False{WHICH}": write_tensorflow_that_contradicts_itself,
    f"{OPTION}'resample_kernel' = a list{WHICH}": tensorflow(resample_kernel=[1, 1]),
    f"{OPTION}'label_size' = 10{WHICH}": tensorflow(label_size=10),
    f"{OPTION}'blur_filter' = a list{WHICH}": tensorflow(blur_filter=[1, 2, 1]),
    "^has the tensor 'LabelConcat/weight', which": write_tensorflow_with_another_variable,
    "^has a generator without the components mapping and synthesis": write_tensorflow_without_parts,
}
FORMATS_BY_NAME = {"ada.pkl": "stylegan2_ada", "port.pt": "rosinality", "tf.pkl": "tensorflow"}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusals(golden, tmp_path, sentence):
    path = REFUSALS[sentence](tmp_path, golden)
    assert re.search(sentence, refusal(path, FORMATS_BY_NAME[path.name]))


def test_two_discriminators_must_be_alike(golden):
    arrays, D = reference_discriminator(golden, "resnet")
    G = NetworkContent(small_generator_like(D).state_dict())
    contents = {
        "sharp": NetworkContent(D.state_dict()),
        "degraded": NetworkContent(D.state_dict(), {"mbstd_group_size": 2}),
    }
    with pytest.raises(UserError, match="has two discriminators of different architecture"):
        assemble(Published(G, contents))
