"""`python -m exchange.import_network`: what it writes starts training and generates; encoders give pSp's codes."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

import generate
import train
from dnnlib.errors import UserError
from dnnlib.files import sha256
from exchange import import_network
from inversion.encoders import published_psp
from inversion.encoders.config import EncoderNetworkConfig
from inversion.encoders.encoder import build_encoder
from inversion.encoders.files import load_encoder
from inversion.encoders.published_psp import CONFIG, read_encoder
from metrics.backbones.ir_se50 import IrSe50Body
from networks.files import ImageFormat, build_discriminator, load_discriminator, load_generator, save_network
from tests.support import stand_ins
from tests.support.networks import SMALL_D, quality_generator, small_creps, small_generator
from tests.support.processes import finish, start
from tests.support.runs import run_here, tiny_command, tiny_config, write_images
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import read_header
from torch_utils.untrusted.pickles import Record
from torch_utils.untrusted.torch_files import InertFile

RGB = ImageFormat(16, 3, 0)


def run(*arguments):
    return CliRunner().invoke(import_network.main, [str(argument) for argument in arguments])


def imported(source, path, *flags):
    result = run(source, "-o", path, *flags)
    assert result.exit_code == 0, result.output
    return path


def error(*arguments):
    result = run(*arguments)
    assert result.exit_code == 1 and result.output.startswith("Error: ") and result.output.count("\n") == 1
    return result.output.removeprefix("Error: ").rstrip("\n")


def small_networks():
    G, D = small_generator().eval(), build_discriminator(SMALL_D, RGB)
    with torch.no_grad():
        G.mapping.w_avg.normal_()
    return G, D


def test_the_file_says_where_it_comes_from(tmp_path):
    G, D = small_networks()
    source = stand_ins.write_pickle(tmp_path / "network-snapshot-025000.pkl", stand_ins.ada_content(G, D))
    path = imported(source, tmp_path / "n.safetensors", "--licence=CC BY-NC 4.0")
    header = read_header(path)
    assert header["kimg"] == 25000 and header["licence"] == "CC BY-NC 4.0" and header["mode"] == "base"
    assert header["source"] == {
        "file": source.name,
        "sha256": sha256(source),
        "format": "pickle of StyleGAN2-ADA or StyleGAN3's repository",
    }
    loaded, _ = load_generator(path)
    z = torch.randn(2, 16)
    assert torch.equal(loaded(z, noise_mode="const"), G(z, noise_mode="const"))
    x = torch.randn(4, 3, 16, 16)
    assert torch.equal(load_discriminator(path, "degraded")(x), D(x))


def test_a_file_of_no_known_format(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    known = "creps, rosinality, state_dict, stylegan2_ada, tensorflow"
    assert error(tmp_path / "other.pt", "-o", tmp_path / "n.safetensors") == (
        f"{tmp_path / 'other.pt'} is of none of the known formats ({known}); give the file as published"
    )
    source = stand_ins.write_pickle(tmp_path / "G.pkl", stand_ins.ada_generator(small_generator().eval()))
    assert error(source, "-o", tmp_path / "n.safetensors", "--network=x") == (
        f"{source} is no encoder of pSp; leave out --network"
    )
    state = {"input_layer.0.weight": torch.zeros(1)}
    odd = {"G": stand_ins.persistent("Generator", {"_parameters": [state]})}
    source = stand_ins.write_pickle(tmp_path / "G.pkl", odd)
    assert error(source, "-o", tmp_path / "n.safetensors").endswith(
        "is damaged or of another layout than is known; copy or download it again"
    )


@pytest.mark.parametrize("name", ["n.pkl", "n", "."])
def test_networks_are_written_under_their_extension(tmp_path, name):
    said = error("any.pkl", "-o", name)
    assert said == f"-o {name} does not end in .safetensors; write for example network.safetensors"


# CREPS: a state dict by its published names, with weights that nothing uses.


def creps_state(golden, **changes):
    arrays, cases = golden("creps_generator")
    state = {name.removeprefix("state/"): torch.tensor(arrays[name]) for name in arrays.files if name[:6] == "state/"}
    return arrays, cases[0], {**state, **changes}


@pytest.mark.parametrize("within", [None, "G_ema"])
def test_a_published_creps_network_gives_its_images(golden, tmp_path, within):
    arrays, case, state = creps_state(golden)
    torch.save(state if within is None else {within: state}, tmp_path / "creps.pt")
    result = run(tmp_path / "creps.pt", "-o", tmp_path / "n.safetensors")
    assert result.exit_code == 0, result.output
    unused = [name for name in state if name.startswith(("synthesis.b4.tores.", "synthesis.decoder_8."))]
    assert len(unused) == 12 and f"left out, since nothing uses them: {', '.join(map(repr, unused))}" in result.output
    G, header = load_generator(tmp_path / "n.safetensors")
    assert header["source"]["format"] == "state dict of a CREPS generator"
    assert (G.config.kind, G.config.creps.channels, G.img_resolution) == ("creps", case["biline_channels"], 32)
    assert_close(G(torch.tensor(arrays["z"])), arrays["img_native"])


def test_a_creps_network_of_more_pixels_than_its_blocks_say(golden, tmp_path):
    double = torch.linspace(0, 1, 64)[None, :, None, None].repeat(1, 1, 2, 1)
    arrays, _, state = creps_state(golden, **{"synthesis.b4.input.coords": double})
    torch.save(state, tmp_path / "creps.pt")
    G, _ = load_generator(imported(tmp_path / "creps.pt", tmp_path / "n.safetensors"))
    assert (G.img_resolution, G.config.creps.last_block) == (64, 32)
    assert_close(G.synthesis(torch.tensor(arrays["wsp"])), arrays["img_double"], rtol=5e-5)


def test_a_pickled_creps_network(tmp_path):
    G = small_creps()
    kwargs = {"z_dim": 16, "channel_base": 256, "biline_channels": 4, "rank": 3}
    pickled = {"G_ema": stand_ins.persistent_network(G, "Generator", init_kwargs=kwargs)}
    source = stand_ins.write_pickle(tmp_path / "creps.pkl", pickled)
    loaded, _ = load_generator(imported(source, tmp_path / "n.safetensors"))
    z = torch.randn(2, 16)
    assert torch.equal(loaded(z), G(z)) and loaded.config.creps == G.config.creps


CREPS_FAULTS = {
    "synthesis.b4.input.coords": (torch.zeros(1, 32, 2, 1), "has other coordinates in synthesis.b4.input.coords"),
    "synthesis.b16.tores.weight": (torch.zeros(4, 32), "has the tensor synthesis.b16.tores.weight in the shape [4, "),
    "synthesis.b4.input.freqs": (torch.zeros(1, 99), "has the tensor synthesis.b4.input.freqs in the shape [1, 99]"),
    "synthesis.b8.fc1.weight": (torch.zeros(0, 32), "has the tensor synthesis.b8.fc1.weight in the shape [0, 32]"),
    "synthesis.b4.input.weight": (torch.zeros(1, 32, 1, 1), "creps.thickness is 0, must be at least 1"),
    "synthesis.surprise": (torch.zeros(1), "has the tensor 'synthesis.surprise', which this program's networks do not"),
}


@pytest.mark.parametrize("name", CREPS_FAULTS)
def test_faulty_creps_networks_are_refused(golden, tmp_path, name):
    tensor, words = CREPS_FAULTS[name]
    torch.save(creps_state(golden, **{name: tensor})[2], tmp_path / "creps.pt")
    assert f"{tmp_path / 'creps.pt'} {words}" in error(tmp_path / "creps.pt", "-o", tmp_path / "n.safetensors")
    assert not (tmp_path / "n.safetensors").exists()


# Networks without discriminators.


def test_a_network_without_discriminators(tmp_path):
    G, _ = small_networks()
    save_network(tmp_path / "n.safetensors", G, {}, {"kimg": 0})
    loaded, header = load_generator(tmp_path / "n.safetensors")
    assert header["discriminator"] is None and torch.equal(loaded.mapping.w_avg, G.mapping.w_avg)
    for stream in ("sharp", "degraded"):
        with pytest.raises(UserError) as caught:
            load_discriminator(tmp_path / "n.safetensors", stream)
        assert str(caught.value) == (
            f"{tmp_path / 'n.safetensors'} has no discriminator, only a generator; give a network that has one"
        )


FRESH = "has no discriminator: training starts with fresh ones"


def test_from_a_published_file_to_degraded_images(tmp_path):
    source = stand_ins.write_pickle(tmp_path / "published.pkl", stand_ins.ada_content(*small_networks()))
    base = imported(source, tmp_path / "base.safetensors")
    data = write_images(tmp_path / "images.zip")
    code, _, errors = finish(start(tiny_command(tmp_path / "run", data, base, "--kimg=0.016")))
    assert code == 0, errors
    assert FRESH not in (tmp_path / "run" / "log.txt").read_text()
    [trained] = (tmp_path / "run").glob("network-snapshot-*.safetensors")
    arguments = [f"--network={trained}", f"--outdir={tmp_path / 'out'}", "--seeds=0-1", "--quality=random"]
    result = CliRunner().invoke(generate.main, [*arguments, "--device=cpu"])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out").rglob("*.png"))) >= 2


def test_training_starts_with_fresh_discriminators_where_there_are_none(tmp_path):
    G, _ = small_networks()
    torch.save(G.state_dict(), tmp_path / "teacher.pth.tar")
    base = imported(tmp_path / "teacher.pth.tar", tmp_path / "base.safetensors")
    data = write_images(tmp_path / "images.zip")
    run_here(tiny_config(data, init_from=base, run={"kimg": 0.016}), tmp_path / "run")
    assert f"{base} {FRESH}" in (tmp_path / "run" / "log.txt").read_text()
    flags = [f"--data={data}", "--mode=qc", f"--init-from={base}", f"--outdir={tmp_path / 'other'}", "--dry-run"]
    result = CliRunner().invoke(train.main, flags)  # which widens the discriminator as the preset has it
    assert result.exit_code == 0, result.output


# Encoders.


class PublishedEncoder(nn.Module):
    """pSp's encoder, for images of 256 px: its own forward and names, on the backbone's published ones."""

    def __init__(self, num_ws, w_dim):
        super().__init__()
        backbone = IrSe50Body()
        self.input_layer, self.body = backbone.input_layer, backbone.body
        self.maps = lambda images: backbone.maps(images)
        sides = [16 if style < 3 else 32 if style < 7 else 64 for style in range(num_ws)]
        self.styles = nn.ModuleList(self.style(side, w_dim) for side in sides)
        self.latlayer1, self.latlayer2 = nn.Conv2d(256, 512, 1), nn.Conv2d(128, 512, 1)

    @staticmethod
    def style(side, w_dim):
        layers = []
        for _ in range(int(math.log2(side))):
            layers += [nn.Conv2d(512, 512, 3, 2, 1), nn.LeakyReLU()]
        head = nn.Module()
        head.convs, head.linear = nn.Sequential(*layers), nn.Linear(512, w_dim)
        return head

    def forward(self, images):
        fine, middle, coarse = self.maps(images)
        levels = [coarse]
        for lateral, finer in ((self.latlayer1, middle), (self.latlayer2, fine)):
            size = finer.shape[2:]
            levels.append(F.interpolate(levels[-1], size, mode="bilinear", align_corners=True) + lateral(finer))
        codes = []
        for style, head in enumerate(self.styles):
            x = head.convs(levels[0 if style < 3 else 1 if style < 7 else 2]).flatten(1)
            codes.append(F.linear(x, head.linear.weight / math.sqrt(512), head.linear.bias))
        return torch.stack(codes, 1)


def content_of(encoder, G, opts=None, **changes):
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    state["decoder.input.input"] = G.synthesis.b4.const.detach()[None]
    average = torch.arange(16.0).repeat(G.num_ws, 1)
    return {"state_dict": state, "latent_avg": average, "opts": opts or {}} | changes


@pytest.fixture(scope="module")
def psp(tmp_path_factory):
    """A network, the published encoder for it, and where both lie."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("psp")
    G = small_generator(32).eval()  # 8 ws: one of the finest
    save_network(folder / "G.safetensors", G, {}, {"kimg": 0})
    encoder = PublishedEncoder(G.num_ws, G.w_dim).eval()
    with torch.no_grad():
        for name, tensor in encoder.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(std=0.1)
    return G, encoder, folder


def test_an_encoder_gives_the_same_codes(psp):
    G, encoder, _ = psp
    state = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True, "input_nc": 3, "lr": 1e-4}
    content = content_of(encoder, G, Record("argparse.Namespace", state=state))
    loaded = read_encoder(InertFile(content, 1 << 30), G, "G.safetensors")
    images = torch.rand(1, 3, 256, 256) * 2 - 1
    with torch.no_grad():
        assert_close(loaded(images).ws, encoder(images) + torch.arange(16.0))
    assert loaded.config == CONFIG and loaded.quality is None


def test_the_command_writes_encoders(psp, tmp_path, monkeypatch):
    G, _, folder = psp
    small = build_encoder(EncoderNetworkConfig(backbone="resnet34", width=0.125, input_size=32), G)
    monkeypatch.setattr(published_psp, "read_encoder", lambda file, G, network: small)
    torch.save({"state_dict": {"encoder.input_layer.0.weight": torch.zeros(1)}}, tmp_path / "psp.pt")
    path = imported(tmp_path / "psp.pt", tmp_path / "e.safetensors", f"--network={folder / 'G.safetensors'}")
    loaded = load_encoder(path, folder / "G.safetensors", G)
    assert all(torch.equal(t, loaded.state_dict()[name]) for name, t in small.state_dict().items())
    assert read_header(path)["source"]["sha256"] == sha256(tmp_path / "psp.pt")


def test_an_encoder_needs_its_network(tmp_path):
    torch.save({"state_dict": {"encoder.input_layer.0.weight": torch.zeros(1)}}, tmp_path / "psp.pt")
    assert error(tmp_path / "psp.pt", "-o", tmp_path / "e.safetensors").endswith(
        "is an encoder; give the network that it is for as --network=FILE"
    )


def encoder_state(*shape, **others):
    """Return a state dict of the first layer alone, and other tensors whose dots are written as __."""
    others = {name.replace("__", "."): torch.zeros(size) for name, size in others.items()}
    return {"encoder.input_layer.0.weight": torch.zeros(shape), **others}


REFUSALS = [
    (
        {"state_dict": encoder_state(1), "opts": {"encoder_type": "Encoder4Editing"}},
        "option 'encoder_type' = 'Encoder4Editing'",
    ),
    (
        {"state_dict": encoder_state(1), "opts": {}},
        "^has [1] numbers for backbone.input_layer.0.weight, an encoder for this network needs [64, 3, 3, 3]; give",
    ),
    (
        {"state_dict": encoder_state(64, 3, 3, 3)},
        "^lacks a tensor for backbone.input_layer.1.weight, which an encoder for 8 ws needs; give a network",
    ),
    (
        {"state_dict": encoder_state(1, encoder__styles__9__linear__weight=1)},
        "^has the tensor 'encoder.styles.9.linear.weight', which an",
    ),
    (
        {"state_dict": encoder_state(1, decoder__input__input=(1, 16, 4, 4))},
        "^was trained for another network than",
    ),
]


@pytest.mark.parametrize(("content", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_other_encoders_are_refused(psp, tmp_path, content, words):
    path = tmp_path / "psp.pt"
    torch.save(content, path)
    said = error(path, "-o", tmp_path / "e.safetensors", f"--network={psp[2] / 'G.safetensors'}")
    assert re.search(words.replace("[", r"\["), said.removeprefix(f"{path} "))


def test_a_qc_network_takes_an_encoder_of_w_alone(psp):
    _, encoder, _ = psp
    G = quality_generator(resolution=32)
    loaded = read_encoder(InertFile(content_of(encoder, G), 1 << 30), G, "qc.safetensors")
    assert loaded.quality is None and loaded.config.q_width == 0
