"""Networks out to standard files: every format gives the network's own numbers; bad requests end in a sentence."""

import builtins
import dataclasses
import functools
import json
import zipfile

import numpy as np
import pytest
import torch

from dnnlib.files import sha256
from exchange import exportable as exportable_module
from exchange.export_network import main
from exchange.exportable import ExportRequest, exportable, largest_error
from exchange.exporters import onnx, program
from networks.config import QualityConfig
from networks.files import ImageFormat, build_discriminator, build_generator, load_generator, save_network
from tests.support import commands
from tests.support.networks import SMALL, SMALL_D, golden_generator, quality_generator


def save(G, path):
    D = build_discriminator(SMALL_D, ImageFormat(G.img_resolution, G.img_channels, G.c_dim))
    save_network(path, G, {"sharp": D}, {"licence": "CC0", "kimg": 3})
    return path


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


@pytest.fixture(scope="module")
def network(folder):
    G = quality_generator("paper", 16, blocks=1, architecture="resnet")
    G.mapping.w_avg.normal_()
    return save(G, folder / "qc.safetensors")


@pytest.fixture(scope="module")
def onnx_file(folder, network):
    pytest.importorskip("onnxscript")
    output = done(network, "-o", folder / "qc.onnx")
    assert "synthesis" in output and "bound 0.0001" in output
    return folder / "qc.onnx"


# ONNX.


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("strength", [0.0, 1.0, 4.0])
def test_onnx_gives_the_images_of_the_network(network, onnx_file, batch, strength):
    G, _ = load_generator(network)
    ws, q = torch.randn(batch, G.num_ws, G.w_dim), strength * torch.randn(batch, G.q_dim)
    [images] = session(onnx_file).run(None, {"ws": ws.numpy(), "q": q.numpy()})
    expected = G.synthesis(ws, q, noise_mode="const")
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-4 * max(1, expected.abs().max().item()))


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
    assert shapes(run.get_inputs()) == {"ws": ["batch", 6, 16], "q": ["batch", 4]}
    assert shapes(run.get_outputs()) == {"images": ["batch", 3, 16, 16]}
    facts = {entry.key.removeprefix("qc_stylegan."): entry.value for entry in onnx_model(onnx_file).metadata_props}
    assert facts["licence"] == "CC0" and facts["kimg"] == "3" and facts["resolution"] == "16"
    assert facts["source_sha256"] == sha256(network) and "127.5" in facts["preprocessing"]
    assert (facts["part"], facts["noise_mode"]) == ("synthesis", "const")


def test_onnx_decides_nothing_by_data_and_names_no_folder(onnx_file):
    model = onnx_model(onnx_file)
    assert not {"If", "Loop", "Scan"} & {node.op_type for node in model.graph.node}
    assert b".py" not in onnx_file.read_bytes()


def test_onnx_of_the_released_model_gives_the_reference_images(golden, folder):
    pytest.importorskip("onnxscript")
    arrays, [case] = golden("qc_released_generator")
    G = golden_generator(arrays, case, QualityConfig(variant="released", q_dim=case["q_dim"]))
    done(save(G, folder / "released.safetensors"), "-o", folder / "released.onnx")
    run = session(folder / "released.onnx")
    for factor, name in ((0, "img_q0"), (1, "img_q"), (2.5, "img_2p5q")):
        [images] = run.run(None, {"ws": arrays["ws"], "q": np.float32(factor) * arrays["q"]})
        scale = 1 if factor < 2 else np.abs(arrays[name]).max()
        np.testing.assert_allclose(images, arrays[name], rtol=0, atol=1e-4 * scale)


def test_onnx_of_a_conditional_mapping_truncates(folder):
    pytest.importorskip("onnxscript")
    G = build_generator(SMALL, ImageFormat(16, 3, 5)).eval()
    G.mapping.w_avg.normal_()
    path = save(G, folder / "conditional.safetensors")
    done(path, "-o", folder / "mapping.onnx", "--part=mapping", "--truncation=0.5")
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
    path, out = save(G, folder / "adain.safetensors"), folder / "adain.pt2"
    assert "differs by at most" in done(path, "-o", out, "--noise=none")
    facts = {program.FACTS: ""}
    module = torch.export.load(out, extra_files=facts).module()
    for batch in (1, 3):
        ws, q = torch.randn(batch, G.num_ws, 16), torch.randn(batch, 4)
        torch.testing.assert_close(module(ws, q), G.synthesis(ws, q, noise_mode="none"), rtol=0, atol=1e-4)
    assert json.loads(facts[program.FACTS])["qc_stylegan.noise_mode"] == "none"
    with zipfile.ZipFile(out) as archive:
        assert not any(b"stack_trace" in archive.read(name) for name in archive.namelist())


# What is exported, before any tracing.


@pytest.mark.parametrize("variant", ["paper", "paper+", "released", "adain"])
@pytest.mark.parametrize("clamp", [None, 256.0])
def test_what_is_exported_is_the_network(tmp_path, variant, clamp):
    G = quality_generator(variant)
    G = type(G)(
        dataclasses.replace(G.config, precision=dataclasses.replace(G.config.precision, conv_clamp=clamp)), 0, 16, 3
    )
    for name, parameter in G.named_parameters():
        if "convq" in name:
            torch.nn.init.normal_(parameter)
    part = exportable(ExportRequest(str(save(G, tmp_path / "G.safetensors")), "synthesis"))
    assert largest_error(part, lambda inputs: part.module(*inputs.values()).detach()) < 1e-5


def test_an_export_that_is_off_is_refused(network, tmp_path, monkeypatch):
    part = exportable(ExportRequest(str(network), "synthesis"))
    with pytest.raises(exportable_module.UserError, match="is off by .*, may be by 0.0001; nothing was written"):
        largest_error(part, lambda inputs: part.reference(*inputs.values()).detach() * 1.001)
    with pytest.raises(exportable_module.UserError, match="is off by inf"):
        largest_error(part, lambda inputs: part.reference(*inputs.values()).detach() * float("nan"))
    with pytest.raises(exportable_module.UserError, match="instead of"):
        largest_error(part, lambda inputs: part.reference(*inputs.values()).detach()[:, :1])


def test_the_check_sees_a_degradation_that_does_not_vanish(network):
    part = exportable(ExportRequest(str(network), "synthesis"))
    with pytest.raises(exportable_module.UserError, match="is off by"):
        largest_error(part, lambda inputs: part.reference(inputs["ws"], inputs["q"] + 0.1).detach())


# State dicts.


def test_a_state_dict_loads_strictly_into_the_generator(network, tmp_path):
    done(network, "-o", tmp_path / "G.pt")
    state = torch.load(tmp_path / "G.pt", weights_only=True)
    G, _ = load_generator(network)
    other = quality_generator("paper", 16, blocks=1, architecture="resnet")
    other.load_state_dict(state, strict=True)
    assert "synthesis.b16.conv1.affine.weight" in state
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in G.state_dict().items())


def test_a_state_dict_of_the_discriminator(network, tmp_path):
    done(network, "-o", tmp_path / "D.bin", "--format=state_dict", "--part=D_sharp")
    D = build_discriminator(SMALL_D, ImageFormat(16, 3, 0))
    D.load_state_dict(torch.load(tmp_path / "D.bin", weights_only=True), strict=True)


# Bad requests.


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "qc.zip"], "qc.zip has none of the extensions .onnx, .pt, .pt2; give it one, or say --format=NAME"),
        (["-o", "x", "--format=onx"], "unknown format 'onx'; did you mean 'onnx'?"),
        (["-o", "x.onnx", "--part=maping"], "unknown part 'maping'; did you mean 'mapping'?"),
        (["-o", "x.pt", "--part=synthesis"], "unknown part 'synthesis'; Known: D_degraded, D_sharp, G_ema"),
        (["-o", "x.pt", "--part=D_degraded"], "holds no D_degraded; what it holds: G_ema, D_sharp"),
        (["-o", "x.pt", "--noise=none"], "--noise=none has no effect on G_ema; leave it out, or add --part=synthesis"),
        (["-o", "x.onnx", "--truncation=0.7"], "--truncation=0.7 has no effect on synthesis; leave it out"),
        (["-o", "x.onnx", "--part=mapping", "--truncation=nan"], "--truncation=nan must be finite"),
        (["-o", "no/such/x.pt"], "cannot write no/such/x.pt: No such file or directory"),
    ],
)
def test_bad_requests_are_one_sentence(network, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(network, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_network_is_one_sentence(tmp_path):
    assert "network no.safetensors does not exist" in refused("no.safetensors", "-o", tmp_path / "x.pt")
    assert "network no.safetensors does not exist" in refused("no.safetensors", "-o", tmp_path / "x.pt2")
