"""Slim files: half of the bytes, the same images, and headers that fit."""

from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from dnnlib.files import sha256
from exchange.slim import main
from generation.rendering import synthesize
from generation.sampling import ws_of_seeds
from inversion.encoders.config import EncoderNetworkConfig, FeatureHeadConfig
from inversion.encoders.encoder import build_encoder
from inversion.encoders.files import load_encoder, save_encoder
from inversion.inverter import InversionOptions, Inverter
from networks.files import load_discriminator, load_generator
from networks.latents import Latents
from tests.support.encoders import TINY, write_encoder
from tests.support.networks import quality_generator, small_creps, small_generator, write_network
from tests.support.runs import write_images
from torch_utils.checkpoint import load_tensors, read_header, save_tensors

CPU = torch.device("cpu")


def slim(source, output, *flags):
    return CliRunner().invoke(main, [str(source), "-o", str(output), *flags])


@pytest.fixture(name="network")
def _network(tmp_path):
    G = quality_generator()
    for resolution in (4, 8, 16):  # to the range of images
        G.synthesis.get_parameter(f"b{resolution}.torgb.weight").data.mul_(0.3)
    return write_network(tmp_path / "qc.safetensors", G, licence="CC0")


def test_images_stay_and_bytes_halve(network, tmp_path):
    result = slim(network, tmp_path / "slim.safetensors", "--subject=cat faces")
    assert result.exit_code == 0, result.output
    G, header = load_generator(tmp_path / "slim.safetensors")
    whole, _ = load_generator(network)
    latents = Latents(ws_of_seeds(whole, range(4)), q=torch.randn(4, whole.q_dim))
    change = synthesize(G, latents) - synthesize(whole, latents)
    assert 0 < change.abs().max() < 2 / 255
    assert (header["subject"], header["licence"], header["discriminator"]) == ("cat faces", "CC0", None)
    assert (tmp_path / "slim.safetensors").stat().st_size < 0.5 * network.stat().st_size


def test_places_and_frequencies_stay_exact(tmp_path):
    network = write_network(tmp_path / "creps.safetensors", small_creps())
    assert slim(network, tmp_path / "slim.safetensors").exit_code == 0
    whole, half = load_tensors(network), load_tensors(tmp_path / "slim.safetensors")
    exact = {name for name, tensor in half.items() if torch.equal(tensor.float(), whole[name])}
    assert {name.rpartition(".")[2] for name in exact if name.startswith("G_ema.synthesis.b4")} >= {"coords", "freqs"}
    assert half["G_ema.synthesis.b8.fc0.weight"].dtype == torch.float16


def test_discriminators_may_stay(network, tmp_path):
    assert slim(network, tmp_path / "slim.safetensors", "--keep-discriminators").exit_code == 0
    images = torch.randn(2, 3, 16, 16)
    logits = [load_discriminator(path, "sharp")(images) for path in (network, tmp_path / "slim.safetensors")]
    torch.testing.assert_close(*logits, rtol=1e-2, atol=1e-2)


def test_an_encoder_follows_its_network(network, tmp_path):
    G, _ = load_generator(network)
    config = EncoderNetworkConfig(backbone="resnet34", width=0.125, q_width=0.125, input_size=32)
    save_encoder(tmp_path / "encoder.safetensors", build_encoder(config, G).eval(), G, sha256(network), {"kimg": 3})
    slim(network, tmp_path / "slim.safetensors")
    arguments = tmp_path / "encoder.safetensors", tmp_path / "slim-encoder.safetensors"
    assert slim(*arguments, f"--for-network={tmp_path / 'slim.safetensors'}").exit_code == 0
    other, _ = load_generator(tmp_path / "slim.safetensors")
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    codes = load_encoder(tmp_path / "encoder.safetensors", network, G)(images)
    slim_codes = load_encoder(tmp_path / "slim-encoder.safetensors", tmp_path / "slim.safetensors", other)(images)
    torch.testing.assert_close(slim_codes.ws, codes.ws, rtol=0.02, atol=0.02)
    assert read_header(tmp_path / "slim-encoder.safetensors")["kimg"] == 3


def test_what_does_not_fit_is_one_sentence(network, tmp_path):
    G, _ = load_generator(network)
    config = EncoderNetworkConfig(backbone="resnet34", width=0.125, q_width=0.125, input_size=32)
    encoder = tmp_path / "encoder.safetensors"
    save_encoder(encoder, build_encoder(config, G).eval(), G, sha256(network), {})
    plain = write_network(tmp_path / "plain.safetensors", small_generator())
    moved = quality_generator()
    moved.mapping.w_avg.add_(1)
    other = write_network(tmp_path / "other.safetensors", moved)
    large = quality_generator()
    large.synthesis.b16.torgb.weight.data.mul_(3e3)
    loud = write_network(tmp_path / "loud.safetensors", large)
    for source, flags, sentence in [
        (encoder, [], "is an encoder; name its slim network with --for-network=FILE"),
        (encoder, [f"--for-network={plain}"], "is for a network with q_dim"),
        (encoder, [f"--for-network={other}"], "is for a network with another mean w than"),
        (network, [f"--for-network={other}"], "--for-network is for encoders, and"),
        (loud, [], "grey levels of 255 in half precision; ship it as it is"),
    ]:
        result = slim(source, tmp_path / "out.safetensors", *flags)
        assert result.exit_code == 1 and sentence in result.output and result.output.count("\n") == 1
        assert not (tmp_path / "out.safetensors").exists()


def test_a_generator_whose_images_would_change_stays_whole_beside_half_a_discriminator(tmp_path):
    G = quality_generator()
    G.synthesis.b16.torgb.weight.data.mul_(3e3)
    source, output = write_network(tmp_path / "loud.safetensors", G), tmp_path / "out.safetensors"
    result = slim(source, output, "--keep-discriminators")
    assert result.exit_code == 0 and "; the generator keeps all its bytes, as images would lose " in result.output
    before, after = load_tensors(source), load_tensors(output)
    for name, tensor in before.items():
        kept = name.startswith("G_ema.")
        assert torch.equal(after[name], tensor if kept else tensor.half()) or tensor.dtype != torch.float32


def test_an_encoder_of_a_plain_network_serves_the_qc_network_made_of_it(tmp_path):
    """It finds the same w, and q is fitted; what it makes of photos is measured anew."""
    plain, quality = small_generator(), quality_generator()
    quality.mapping.load_state_dict(plain.mapping.state_dict())
    base, qc = (write_network(tmp_path / f"{k}.safetensors", G) for k, G in (("base", plain), ("qc", quality)))
    config = EncoderNetworkConfig(backbone="resnet34", width=0.125, q_width=0.125, input_size=32)
    facts = {"kimg": 3, "degradation": "noise", "reconstruction": {"p50": 1e9, "p99": 1e9}}
    save_encoder(tmp_path / "encoder.safetensors", build_encoder(config, plain).eval(), plain, sha256(base), facts)
    arguments = tmp_path / "encoder.safetensors", tmp_path / "qc-encoder.safetensors", f"--for-network={qc}"
    result = slim(*arguments, f"--photos={write_images(tmp_path / 'photos.zip')}")
    assert result.exit_code == 0, result.output
    header = read_header(arguments[1])
    assert header["reconstruction"]["p99"] < 1e9 and min(header["detail"]) > 0 and header["degradation"] == "noise"
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    found = load_encoder(arguments[1], qc, quality)(images)
    expected = load_encoder(arguments[0], base, plain)(images)
    assert found.q is None
    torch.testing.assert_close(found.ws, expected.ws, rtol=1e-2, atol=1e-2)
    inverter = Inverter(qc, CPU, InversionOptions(encoder=str(arguments[1]), projector=None, tuning=None))
    assert inverter.codes(images).q.shape == (2, quality.q_dim)


def test_an_encoder_of_features_inside_the_quality_head_is_refused(tmp_path):
    plain, quality = small_generator(), quality_generator()
    quality.mapping.load_state_dict(plain.mapping.state_dict())
    base, qc = (write_network(tmp_path / f"{k}.safetensors", G) for k, G in (("base", plain), ("qc", quality)))
    encoder = tmp_path / "encoder.safetensors"
    write_encoder(encoder, plain, base, replace(TINY, kind="feature-style", features=FeatureHeadConfig(layer=4)))
    result = slim(encoder, tmp_path / "out.safetensors", f"--for-network={qc}")
    assert result.exit_code == 1 and not (tmp_path / "out.safetensors").exists()
    assert result.output == (
        f"Error: {encoder} does not fit {qc}: encoder.features.layer is 4, inside the quality head; "
        "train one for that network with invert.py train-encoder\n"
    )


def test_photos_that_are_not_there_leave_no_file(network, tmp_path):
    G, _ = load_generator(network)
    config = EncoderNetworkConfig(backbone="resnet34", width=0.125, q_width=0.125, input_size=32)
    save_encoder(tmp_path / "encoder.safetensors", build_encoder(config, G).eval(), G, sha256(network), {})
    arguments = tmp_path / "encoder.safetensors", tmp_path / "slim.safetensors", f"--for-network={network}"
    result = slim(*arguments, f"--photos={tmp_path / 'missing'}")
    assert result.exit_code == 1 and "missing does not exist" in result.output and not arguments[1].exists()


@pytest.mark.parametrize("flag", ["--for-network", "--photos"])
def test_flags_of_encoders_are_no_flags_of_networks(network, tmp_path, flag):
    result = slim(network, tmp_path / "slim.safetensors", f"{flag}={network}")
    assert result.exit_code == 1 and f"{flag} is for encoders, and" in result.output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda header: header.pop("network"), "names no network"),
        (lambda header: header.update(network="cats"), "names no network"),
        (lambda header: header["network"].update(channels=1), "is for a network with channels 1"),
        (lambda header: header.pop("encoder"), "encoder.safetensors"),
        (lambda header: header.update(encoder=[1]), "encoder.safetensors"),
    ],
)
def test_an_encoder_whose_header_does_not_fit_is_refused(tmp_path, change, sentence):
    plain, quality = small_generator(), quality_generator()
    base, qc = (write_network(tmp_path / f"{k}.safetensors", G) for k, G in (("base", plain), ("qc", quality)))
    config = EncoderNetworkConfig(backbone="resnet34", width=0.125, q_width=0.125, input_size=32)
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, build_encoder(config, plain).eval(), plain, sha256(base), {})
    header = read_header(path)
    change(header)
    save_tensors(path, load_tensors(path), header)
    result = slim(path, tmp_path / "slim.safetensors", f"--for-network={qc}")
    assert result.exit_code == 1 and result.output.startswith("Error: ") and sentence in result.output
    assert not (tmp_path / "slim.safetensors").exists()
