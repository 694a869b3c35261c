"""Networks out to standard files: every format gives the network's own numbers; bad requests end in a sentence."""

import builtins
import dataclasses
import functools
import itertools
import json
import zipfile

import numpy as np
import pytest
import torch

from dnnlib.errors import UserError
from dnnlib.files import sha256
from exchange.export_network import main
from exchange.exportable import ExportRequest, exportable, largest_error
from exchange.exporters import onnx, program
from generation.framing import Framing
from inversion.encoders.config import FeatureHeadConfig, PaddingHeadConfig
from inversion.encoders.files import load_encoder, save_encoder
from networks.config import QualityConfig
from networks.files import ImageFormat, build_discriminator, build_generator, load_generator
from networks.generators.coordinates import Coordinates, line
from tests.support import commands
from tests.support.encoders import TINY, write_encoder
from tests.support.networks import (
    SMALL,
    SMALL_D,
    conditional_generator,
    quality_generator,
    small_creps,
    write_network,
)

done, refused = functools.partial(commands.done, main), functools.partial(commands.refused, main)


def session(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def onnx_model(path):
    return pytest.importorskip("onnx").load(path)


def shapes(values):
    return {value.name: list(value.shape) for value in values}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    return tmp_path_factory.mktemp("export")


def small(variant):
    """Return a QC generator of few operations: each costs seconds in the exporters."""
    return quality_generator(variant, resolution=8, blocks=1, architecture="resnet", depth=2)


def write_small(path, variant):
    G = small(variant)
    G.mapping.w_avg.normal_()
    return write_network(path, G, licence="CC0", kimg=3)


@pytest.fixture(scope="module")
def network(folder):
    return write_small(folder / "qc.safetensors", "paper+")


def write_onnx(network):
    pytest.importorskip("onnxscript")
    output = done(network, "-o", network.with_suffix(".onnx"))
    assert "synthesis" in output and "bound 0.0001" in output
    return network.with_suffix(".onnx")


@pytest.fixture(scope="module")
def onnx_file(network):
    return write_onnx(network)


# ONNX.


def assert_onnx_gives_images(network, onnx_file):
    G, _ = load_generator(network)
    run = session(onnx_file)
    for batch, strength in itertools.product([1, 3], [0.0, 1.0, 4.0]):
        ws, q = torch.randn(batch, G.num_ws, G.w_dim), strength * torch.randn(batch, G.q_dim)
        [images] = run.run(None, {"ws": ws.numpy(), "q": q.numpy()})
        expected = G.synthesis(ws, q, noise_mode="const")
        np.testing.assert_allclose(images, expected, rtol=0, atol=1e-4 * max(1, expected.abs().max().item()))


def test_onnx_gives_the_images_of_the_network(network, onnx_file):
    assert_onnx_gives_images(network, onnx_file)


@pytest.mark.parametrize("variant", ["released", "pixels"])
def test_onnx_gives_the_images_of_blocks_of_other_kinds(tmp_path, variant):
    """For any batch; the released kind's own numbers are pinned by the reference numbers of the released model."""
    network = write_small(tmp_path / f"{variant}.safetensors", variant)
    assert_onnx_gives_images(network, write_onnx(network))


def test_in_onnx_a_row_without_quality_is_sharp_beside_others(network, onnx_file):
    G, _ = load_generator(network)
    ws, q = torch.randn(2, G.num_ws, G.w_dim), torch.randn(2, G.q_dim)
    q[0] = 0
    [images] = session(onnx_file).run(None, {"ws": ws.numpy(), "q": q.numpy()})
    sharp = G.synthesis(ws, noise_mode="const")
    np.testing.assert_allclose(images[0], sharp[0], rtol=0, atol=1e-4 * sharp.abs().max().item())
    assert np.abs(images[1] - sharp[1].numpy()).max() > 0.1


def test_onnx_says_what_it_takes_and_where_it_comes_from(network, onnx_file):
    run = session(onnx_file)
    assert shapes(run.get_inputs()) == {"ws": ["batch", 4, 16], "q": ["batch", 4]}
    assert shapes(run.get_outputs()) == {"images": ["batch", 3, 8, 8]}
    facts = {entry.key.removeprefix("qc_stylegan."): entry.value for entry in onnx_model(onnx_file).metadata_props}
    assert facts["licence"] == "CC0" and facts["kimg"] == "3" and facts["resolution"] == "8"
    assert facts["source_sha256"] == sha256(network) and "127.5" in facts["preprocessing"]
    assert (facts["part"], facts["noise_mode"]) == ("synthesis", "const")


def test_onnx_decides_nothing_by_data_and_names_no_folder(onnx_file):
    model = onnx_model(onnx_file)
    assert not {"If", "Loop", "Scan"} & {node.op_type for node in model.graph.node}
    assert b".py" not in onnx_file.read_bytes()


def test_onnx_of_a_conditional_mapping_truncates(folder):
    pytest.importorskip("onnxscript")
    G = conditional_generator(5)
    G.mapping.w_avg.normal_()
    path = write_network(folder / "conditional.safetensors", G)
    done(path, "-o", folder / "mapping.onnx", "--part=mapping", "--trunc=0.5")
    run = session(folder / "mapping.onnx")
    assert shapes(run.get_inputs()) == {"z": ["batch", 16], "c": ["batch", 5]}
    for batch in (1, 3):
        z, c = torch.randn(batch, 16), torch.eye(5)[:batch]
        [ws] = run.run(None, {"z": z.numpy(), "c": c.numpy()})
        np.testing.assert_allclose(ws, G.mapping(z, c, truncation_psi=0.5).detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", onnx.PACKAGES)
def test_a_missing_package_is_one_sentence(network, tmp_path, monkeypatch, name):
    real = builtins.__import__

    def without(module, *arguments):
        if module.partition(".")[0] == name:
            raise ImportError(name)
        return real(module, *arguments)

    for other in onnx.PACKAGES[: onnx.PACKAGES.index(name)]:
        pytest.importorskip(other)
    monkeypatch.setattr(builtins, "__import__", without)
    sentence = refused(network, "-o", tmp_path / "qc.onnx")
    assert sentence.endswith(f"need the package {name}; pip install -r requirements-export.txt")


# torch.export.


def test_a_program_is_the_network_after_reloading(folder):
    quality = QualityConfig(variant="adain", q_dim=4, channels=8, blocks=1)
    G = build_generator(dataclasses.replace(SMALL, quality=quality), ImageFormat(8, 3, 0)).eval()
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if "convq" in name or name.endswith("noise_strength"):
                parameter.normal_()
    path, out = write_network(folder / "adain.safetensors", G), folder / "adain.pt2"
    assert "differs by at most" in done(path, "-o", out, "--noise-mode=none")
    facts = {program.FACTS: ""}
    module = torch.export.load(out, extra_files=facts).module()
    for batch in (1, 3):
        ws, q = torch.randn(batch, G.num_ws, 16), torch.randn(batch, 4)
        torch.testing.assert_close(module(ws, q), G.synthesis(ws, q, noise_mode="none"), rtol=0, atol=1e-4)
    assert json.loads(facts[program.FACTS])["qc_stylegan.noise_mode"] == "none"
    with zipfile.ZipFile(out) as archive:
        assert not any(b"stack_trace" in archive.read(name) for name in archive.namelist())


def test_a_network_without_a_grid_is_exported_at_one(folder):
    G = small_creps(resolution=8)
    path, out = write_network(folder / "creps.safetensors", G), folder / "creps.pt2"
    assert "differs by at most" in done(path, "-o", out, "--size=5x7", "--crop=0,0,0.5,1", "--flip")
    facts = {program.FACTS: ""}
    module = torch.export.load(out, extra_files=facts).module()
    ws = torch.randn(3, G.num_ws, 16)
    expected = G.synthesis(ws, coords=Coordinates(line(5), line(7, 0, 0.5).flip(0)))
    torch.testing.assert_close(module(ws), expected, rtol=0, atol=1e-4)
    assert json.loads(json.loads(facts[program.FACTS])["qc_stylegan.framing"])["size"] == [5, 7]
    cures = {"--rotate=10.0": "leave out --rotate, or make such images", "--warp=bend:0.1": "leave out --warp, or make"}
    for flag, cure in cures.items():
        said = refused(path, "-o", folder / "no.pt2", flag)
        assert said.startswith(f"{flag} places pixels one by one, and exported networks place rows") and cure in said
    assert not (folder / "no.pt2").exists()


def test_a_quality_code_is_exported_with_a_frame(tmp_path):
    G = small_creps(resolution=8, quality=QualityConfig(q_dim=4, channels=8, blocks=1))
    path = str(write_network(tmp_path / "qc.safetensors", G))
    part = exportable(ExportRequest(path, "synthesis", framing=Framing(scale=2.0)))
    assert part.reference(*part.draw(2, 1.0).values()).shape == (2, 3, 16, 16)
    assert largest_error(part, lambda inputs: part.module(*inputs.values()).detach()) < 1e-5


# What is exported, before any tracing.


@pytest.mark.parametrize("variant", ["paper", "paper+", "pixels", "released", "adain"])
@pytest.mark.parametrize("clamp", [None, 256.0])
def test_what_is_exported_is_the_network(tmp_path, variant, clamp):
    G = quality_generator(variant)
    G = type(G)(
        dataclasses.replace(G.config, precision=dataclasses.replace(G.config.precision, conv_clamp=clamp)), 0, 16, 3
    )
    for name, parameter in G.named_parameters():
        if "convq" in name:
            torch.nn.init.normal_(parameter)
    part = exportable(ExportRequest(str(write_network(tmp_path / "G.safetensors", G)), "synthesis"))
    assert largest_error(part, lambda inputs: part.module(*inputs.values()).detach()) < 1e-5


@pytest.mark.parametrize(
    ("export", "sentence"),
    [
        (lambda reference, ws, q: reference(ws, q) * 1.001, "is off by .*, may be by 0.0001; nothing was written"),
        (lambda reference, ws, q: reference(ws, q) * float("nan"), "is off by inf"),
        (lambda reference, ws, q: reference(ws, q)[:, :1], "instead of"),
        (lambda reference, ws, q: reference(ws, q + 0.1), "is off by"),  # a degradation that does not vanish
    ],
)
def test_an_export_that_is_off_is_refused(network, export, sentence):
    part = exportable(ExportRequest(str(network), "synthesis"))
    with pytest.raises(UserError, match=sentence):
        largest_error(part, lambda inputs: export(part.reference, inputs["ws"], inputs["q"]).detach())


def write_encoder_of(kind, network, path, **changes):
    G, _ = load_generator(network)
    head = {"padding": PaddingHeadConfig(layers=1), "features": FeatureHeadConfig(1)}
    config = dataclasses.replace(TINY, kind=kind, **{"q_width": 0, **head, **changes})
    encoder = write_encoder(path, G, network, config)
    for name, parameter in encoder.named_parameters():
        if name.startswith("spatial.") and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # heads begin as zeros
    save_encoder(path, encoder, G, sha256(network), {"kimg": 0})
    return path


@pytest.mark.parametrize("kind", ["psp", "padding", "feature-style"])
def test_encoders_are_exported_and_the_synthesis_takes_their_codes(network, tmp_path, kind):
    path = str(write_encoder_of(kind, network, tmp_path / "encoder.safetensors"))
    extra = {"psp": [], "padding": ["padding.const", "padding.b4.conv1"], "feature-style": ["features.1"]}[kind]
    encoder = exportable(ExportRequest(str(network), "encoder", encoder=path))
    assert encoder.inputs == {"images": [3, 32, 32]} and encoder.outputs == ["ws", *extra]
    assert largest_error(encoder, lambda inputs: encoder.module(*inputs.values())) < 1e-5
    synthesis = exportable(ExportRequest(str(network), "synthesis", encoder=path))
    assert list(synthesis.inputs) == ["ws", "q", *extra]
    assert largest_error(synthesis, lambda inputs: synthesis.module(*inputs.values()).detach()) < 1e-5
    codes = synthesis.draw(2, 1.0)
    for name in extra:
        other = codes | {name: codes[name] + 1}
        assert not torch.equal(*(synthesis.reference(*values.values()) for values in (codes, other))), name


def test_an_encoder_runs_in_onnxruntime(tmp_path):
    """Its heads are shared, since each operation costs time in the exporter; q is told by traces of 16x16 photos."""
    pytest.importorskip("onnxscript")
    network = write_network(tmp_path / "qc.safetensors", quality_generator(blocks=1, depth=2))
    path = write_encoder_of(
        "feature-style", network, tmp_path / "encoder.safetensors", heads="shared", q_width=0.5, q_input="traces"
    )
    onnx_file = tmp_path / "e.onnx"
    done(network, "-o", onnx_file, "--part=encoder", f"--encoder={path}")
    run = session(onnx_file)
    assert [output.name for output in run.get_outputs()] == ["ws", "q", "features.1"]
    photos = torch.rand(3, 3, 16, 16) * 2 - 1
    encoder = load_encoder(path, network, load_generator(network)[0])
    for found, expected in zip(
        run.run(None, {"images": photos.numpy()}), encoder(photos).tensors().values(), strict=True
    ):
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4 * max(1, expected.abs().max().item()))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--part=encoder"], "--part=encoder needs the file of an encoder; give --encoder=FILE"),
        (["--part=mapping", "--encoder={network}"], "has no effect on mapping; leave it out, or add --part=encoder"),
        (["--part=encoder", "--encoder={network}"], "is no encoder; give an encoder-"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(network, tmp_path, flags, sentence):
    flags = [flag.format(network=network) for flag in flags]
    assert sentence in refused(network, "-o", tmp_path / "encoder.onnx", *flags)


# State dicts.


def test_a_state_dict_loads_strictly_into_the_generator(network, tmp_path):
    done(network, "-o", tmp_path / "G.pt")
    state = torch.load(tmp_path / "G.pt", weights_only=True)
    G, _ = load_generator(network)
    other = small("paper+")
    other.load_state_dict(state, strict=True)
    assert "synthesis.b8.conv1.affine.weight" in state
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in G.state_dict().items())


def test_a_state_dict_of_the_discriminator(network, tmp_path):
    done(network, "-o", tmp_path / "D.bin", "--format=state_dict", "--part=D_sharp")
    D = build_discriminator(SMALL_D, ImageFormat(8, 3, 0))
    D.load_state_dict(torch.load(tmp_path / "D.bin", weights_only=True), strict=True)


# Bad requests.


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "qc.zip"], "qc.zip has none of the extensions .onnx, .pt, .pt2; give it one, or say --format=NAME"),
        (["-o", "x", "--format=onx"], "unknown format 'onx'; did you mean 'onnx'?"),
        (["-o", "x.onnx", "--part=maping"], "unknown part 'maping'; did you mean 'mapping'?"),
        (["-o", "x.pt", "--part=synthesis"], "unknown part 'synthesis'; known: D_degraded, D_sharp, G_ema"),
        (["-o", "x.pt", "--part=D_degraded"], "holds no D_degraded; what it holds: G_ema, D_sharp"),
        (["-o", "x.pt", "--noise-mode=none"], "--noise-mode=none has no effect on G_ema; leave it out, or add --part="),
        (["-o", "x.onnx", "--trunc=0.7"], "--trunc=0.7 has no effect on synthesis; leave it out"),
        (["-o", "x.onnx", "--part=mapping", "--trunc=nan"], "--trunc=nan must be finite"),
        (["-o", "x.onnx", "--part=mapping", "--scale=2"], "--scale has no effect on mapping; leave it out, or add"),
        (["-o", "x.pt2", "--scale=2"], "--scale needs a network that knows no grid"),
        (["none.safetensors", "-o", "x.pt"], "network none.safetensors does not exist"),
        (["none.safetensors", "-o", "x.pt2"], "network none.safetensors does not exist"),
        (["-o", "no/such/x.pt"], "cannot write no/such/x.pt: No such file or directory"),
    ],
)
def test_bad_requests_are_one_sentence(network, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    if arguments[0].startswith("-"):
        arguments = [network, *arguments]
    assert sentence in refused(*arguments)
    assert list(tmp_path.iterdir()) == []
