"""Frames of generated images: any size, window, turn and mirror image of a network that knows no grid."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

import generate as script
from dnnlib.errors import UserError
from generation.framing import Framing
from generation.quality_codes import parse_qualities
from generation.sampling import Sampling, generate, ws_of_seeds
from images.ranges import to_uint8
from networks.config import QualityConfig
from networks.generators.coordinates import Coordinates, line
from tests.support.networks import small_creps, small_generator, write_network


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        generators = {"creps": small_creps(), "qc": small_creps(quality=QualityConfig(q_dim=4, channels=8))}
        for name, G in {**generators, "stylegan2": small_generator()}.items():
            write_network(folder / f"{name}.safetensors", G)
    return folder


def call(network, *arguments):
    return CliRunner().invoke(script.main, [f"--network={network}", "--device=cpu", "--seeds=0,1", *arguments])


def images_of(network, outdir, *arguments):
    result = call(network, f"--outdir={outdir}", *arguments)
    assert result.exit_code == 0, result.output
    return np.stack([np.asarray(PIL.Image.open(Path(outdir) / f"seed{seed:04d}.png")) for seed in (0, 1)])


def at(G, coords):
    return to_uint8(G.synthesis(ws_of_seeds(G, [0, 1]), coords=coords))


FRAMES = {
    "--scale=2": lambda: Coordinates(line(32), line(32)),
    "--scale=1.5": lambda: Coordinates(line(24), line(24)),
    "--size=9x21": lambda: Coordinates(line(9), line(21)),
    "--crop=0.25,0,0.75,0.25": lambda: Coordinates(line(8, 0, 0.25), line(16, 0.25, 0.75)),
    "--scale=2 --crop=-0.5,0,0.5,1": lambda: Coordinates(line(32), line(32, -0.5, 0.5)),
    "--shift=0.25,-0.5": lambda: Coordinates(line(16) - 0.5, line(16) + 0.25),
    "--flip": lambda: Coordinates(line(16), line(16).flip(0)),
    "--rotate=90": lambda: Coordinates(line(16), line(16)).rotated(90),
    "--rotate=30 --flip --size=8x8": lambda: Coordinates(line(8), line(8)).rotated(30).flipped(),
}


@pytest.mark.parametrize("flags", FRAMES)
def test_images_are_those_at_the_coordinates(networks, tmp_path, flags):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        G = small_creps()
    expected = at(G, FRAMES[flags]()).astype(int)
    found = images_of(networks / "creps.safetensors", tmp_path, *flags.split()).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1  # strips may differ in the last bit before rounding


def test_frames_are_kept_with_the_images(networks, tmp_path):
    images_of(networks / "creps.safetensors", tmp_path, "--scale=2", "--grid", "--save-codes")
    assert json.loads((tmp_path / "codes.json").read_text())["framing"]["scale"] == 2
    assert (tmp_path / "grid.png").exists()


def test_frames_of_degraded_images():
    G = small_creps(quality=QualityConfig(q_dim=4, channels=8))
    for name, parameter in G.named_parameters():
        if "convq" in name:
            parameter.normal_()
    qualities = parse_qualities(["sharp", "seed:1"], [0, 1], 4)
    [views] = generate(G, [0, 1], qualities, Sampling(framing=Framing(scale=2)))
    assert views.images.shape == (2, 2, 32, 32, 3)
    q = torch.tensor(qualities[1].rows(slice(0, 2)), dtype=torch.float32)
    expected = G.synthesis(ws_of_seeds(G, [0, 1]), q, coords=Coordinates(line(32), line(32)))
    assert np.array_equal(views.images[1], to_uint8(expected))


def test_large_images_are_made_few_at_a_time(monkeypatch):
    monkeypatch.setattr("generation.sampling.MAX_PIXELS_AT_ONCE", 2 * 16 * 16)
    sampling = Sampling(framing=Framing(scale=1.0))
    views = list(generate(small_creps(), [0, 1, 2], parse_qualities(["sharp"], [0, 1, 2], 0), sampling))
    assert [len(part.ws) for part in views] == [2, 1]


REFUSALS = {
    "--scale=0": "--scale=0.0 must be a finite number above 0; write for example --scale=2",
    "--scale=nan": "--scale=nan must be a finite number above 0",
    "--scale=0.01": "--scale makes 0x0 pixels, must be at least 1 pixel a side",
    "--scale=1e30": "pixels, must be at least 1 pixel a side and at most 134,217,728 altogether",
    "--size=0x5": "--size makes 0x5 pixels, must be at least 1 pixel a side",
    "--size=20000x20000": "--size makes 20000x20000 pixels, must be",
    "--size=5": "--size='5' is no height and width; write for example --size=512x768",
    "--size=5x5 --scale=2": "--scale and --size both say how many pixels there are; leave one of them out",
    "--crop=0,0,1": "--crop='0,0,1' is not 4 numbers; write for example --crop=0.25,0.25,0.75,0.75",
    "--crop=0,0,nan,1": "is not 4 numbers",
    "--crop=1,0,0,1": "--crop=1,0,0,1 has no area; write left,top,right,bottom such as",
    "--shift=a,b": "--shift='a,b' is not 2 numbers; write for example --shift=0.1,0",
    "--rotate=inf": "--rotate=inf must be finite",
    "--flip --interpolate=content": "--flip has no effect with --interpolate; leave one of them out",
    "--noise-mode=random": "--noise-mode=random is given, and this network has no noise; leave --noise-mode out",
}


@pytest.mark.parametrize("flags", REFUSALS)
def test_refusals(networks, tmp_path, flags):
    result = call(networks / "creps.safetensors", f"--outdir={tmp_path / 'none'}", *flags.split())
    assert isinstance(result.exception, SystemExit), result.exception
    [sentence] = result.output.strip().splitlines()
    assert REFUSALS[flags] in sentence
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("flag", ["--scale=2", "--size=8x8", "--crop=0,0,.5,.5", "--shift=1,0", "--rotate=5", "--flip"])
def test_a_network_with_a_grid_refuses_every_frame(networks, tmp_path, flag):
    result = call(networks / "stylegan2.safetensors", f"--outdir={tmp_path / 'none'}", flag)
    [sentence] = result.output.strip().splitlines()
    name = flag.partition("=")[0]
    assert f"{name} needs a network that knows no grid" in sentence and "this one is of kind stylegan2" in sentence
    assert not (tmp_path / "none").exists()


def test_degraded_images_have_a_smaller_bound():
    G = small_creps(quality=QualityConfig(q_dim=4, channels=8))
    Framing(size=(4096, 2048)).coordinates(G)
    with pytest.raises(UserError, match="at most 4,194,304 altogether where a quality code is given"):
        Framing(size=(4096, 2048)).coordinates(G, is_sharp=False)
