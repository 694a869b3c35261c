"""What of two files comes together: sharp images and content of one, quality code of the other; and what is refused."""

import functools
from dataclasses import replace

import pytest
import torch

from dnnlib.files import sha256
from exchange.graft import main
from generation.rendering import synthesize
from inversion.encoders.files import load_encoder
from networks.files import load_discriminator, load_generator
from networks.latents import Latents
from tests.support import commands
from tests.support.encoders import TINY, write_encoder
from tests.support.networks import conditional_generator, quality_generator, small_generator, write_network
from torch_utils.checkpoint import load_tensors, read_header

done, refused = functools.partial(commands.done, main), functools.partial(commands.refused, main)


@pytest.fixture(name="files")
def _files(tmp_path):
    """A QC network, the same trained on alone, and a base network that was trained on."""
    torch.manual_seed(0)
    G = quality_generator("pixels")
    qc = write_network(tmp_path / "qc.safetensors", G, ("sharp", "degraded"), kimg=5, mode="qc", degradation="noise")
    torch.manual_seed(1)
    base = small_generator()
    base.mapping.w_avg.normal_()
    return qc, write_network(tmp_path / "base.safetensors", base, kimg=7, mode="base"), tmp_path / "out.safetensors"


def test_sharp_images_are_the_bases_and_blocks_the_other_networks(files):
    qc, base, output = files
    done(qc, base, "-o", output)
    grafted, theirs, ours = (load_generator(path)[0] for path in (output, base, qc))
    latents = Latents(torch.randn(2, theirs.num_ws, theirs.w_dim))
    assert torch.equal(synthesize(grafted, latents), synthesize(theirs, latents))
    assert torch.equal(grafted.mapping.w_avg, theirs.mapping.w_avg)
    q = torch.randn(2, ours.q_dim)
    degraded = synthesize(grafted, Latents(latents.ws, q=q))
    assert not torch.allclose(degraded, synthesize(grafted, latents))
    assert not torch.allclose(degraded, synthesize(ours, Latents(latents.ws, q=q)))
    plain, before, after = (load_tensors(path) for path in (base, qc, output))
    own = [name for name in before if name not in plain]
    assert any(name.startswith("G_ema.") for name in own)
    assert all(torch.equal(after[name], before[name]) for name in own)
    assert all(name.startswith("D_degraded.") or name in plain or name in own for name in after)


def test_training_goes_on_from_it(files):
    """Its header says what it is, and the discriminator of degraded images is there, that of sharp ones is not."""
    qc, base, output = files
    done(qc, base, "-o", output)
    header = read_header(output)
    assert header.pop("grafted_on") == {"sha256": sha256(base), "kimg": 7}
    assert header == read_header(qc)
    assert not any(name.startswith("D_sharp.") for name in load_tensors(output))
    weights = load_discriminator(output, "degraded").state_dict()
    assert all(torch.equal(w, weights[name]) for name, w in load_discriminator(qc, "degraded").state_dict().items())


def test_grafting_the_networks_own_base_changes_nothing(files, tmp_path):
    qc, _, output = files
    own = load_tensors(qc)
    plain = small_generator()
    plain.load_state_dict({name: own[f"G_ema.{name}"] for name in plain.state_dict()})
    done(qc, write_network(tmp_path / "own.safetensors", plain), "-o", output)
    after = load_tensors(output)
    assert all(torch.equal(tensor, after[name]) for name, tensor in own.items() if not name.startswith("D_sharp."))


def test_what_does_not_fit_is_one_sentence(files, tmp_path):
    qc, base, output = files
    released = write_network(tmp_path / "released.safetensors", quality_generator("released"))
    larger = write_network(tmp_path / "larger.safetensors", small_generator(32))
    classes = write_network(tmp_path / "classes.safetensors", conditional_generator())
    assert "give the QC network first, then the plain one" in refused(base, qc, "-o", output)
    assert "has a quality code of its own; give a plain network" in refused(qc, qc, "-o", output)
    assert "changes weights of its base network; train it anew on" in refused(released, base, "-o", output)
    assert "differ in images; give the network that" in refused(qc, larger, "-o", output)
    assert refused(qc, classes, "-o", output).startswith(f"{qc} and {classes} differ in ")
    assert "nowhere.safetensors" in refused(qc, tmp_path / "nowhere.safetensors", "-o", output)
    assert not output.exists()


# Encoders


@pytest.fixture(name="encoders")
def _encoders(tmp_path):
    """Two encoders for one network, of which one tells q, and what they need."""
    torch.manual_seed(2)
    G = quality_generator()
    network = write_network(tmp_path / "network.safetensors", G)
    full, content, output = (tmp_path / f"{name}.safetensors" for name in ("full", "content", "out"))
    write_encoder(full, G, network, kimg=3, quality_kimg=5)
    write_encoder(content, G, network, replace(TINY, q_width=0), kimg=8, reconstruction={"p50": 1.0})
    return network, full, content, output


def test_the_network_for_q_of_one_encoder_beside_the_content_of_another(encoders):
    network, full, content, output = encoders
    G, _ = load_generator(network)
    photos = torch.rand(2, 3, 16, 16) * 2 - 1
    another = content.with_name("another.safetensors")
    write_encoder(another, G, network, kimg=8)
    for other in (content, another):
        done(full, other, "-o", output)
        grafted, ours, theirs = (load_encoder(path, network, G)(photos) for path in (output, full, other))
        assert torch.equal(grafted.q, ours.q) and torch.equal(grafted.ws, theirs.ws)
        header = read_header(output)
        assert (header["kimg"], header["quality_kimg"]) == (8, 5)
        assert header.get("reconstruction") == read_header(other).get("reconstruction")


def test_what_tells_q_by_traces_fits_any_content(encoders, tmp_path):
    """It shares nothing with the network for w, whatever the side of its images."""
    network, _, content, output = encoders
    G, _ = load_generator(network)
    by_traces, larger = tmp_path / "traces.safetensors", tmp_path / "larger.safetensors"
    write_encoder(by_traces, G, network, replace(TINY, q_input="traces", q_width=0.5), quality_kimg=5)
    write_encoder(larger, G, network, replace(TINY, q_width=0, input_size=64), kimg=8)
    photos = torch.rand(2, 3, 16, 16) * 2 - 1
    for other in (content, larger):
        done(by_traces, other, "-o", output)
        grafted, ours, theirs = (load_encoder(path, network, G)(photos) for path in (output, by_traces, other))
        assert torch.equal(grafted.q, ours.q) and torch.equal(grafted.ws, theirs.ws)


def test_encoders_that_do_not_fit_are_one_sentence(encoders, tmp_path):
    network, full, content, output = encoders
    G, _ = load_generator(network)
    base = small_generator()
    plain = write_network(tmp_path / "plain.safetensors", base)
    of_plain, larger = tmp_path / "of-plain.safetensors", tmp_path / "larger.safetensors"
    write_encoder(of_plain, base, plain)
    write_encoder(larger, G, network, replace(TINY, input_size=64))
    assert "content.safetensors has no network for q to give" in refused(content, full, "-o", output)
    assert "is no encoder; give an encoder-....safetensors" in refused(full, network, "-o", output)
    assert "is no encoder; give an encoder-....safetensors" in refused(network, full, "-o", output)
    assert "differ in encoder.input_size (32, 64); train q anew by --quality-only" in refused(
        full, larger, "-o", output
    )
    assert "for one with None; give that one to the network with a quality code first" in refused(
        full, of_plain, "-o", output
    )
    assert not output.exists()
