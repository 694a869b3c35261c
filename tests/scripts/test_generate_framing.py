"""Frames of generated images: any size, window, turn and mirror image of a network that knows no grid."""

import json
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

import generate as script
from dnnlib.errors import UserError
from generation import making
from generation.framing import Framing
from generation.framing_flags import WARP_NAMES
from generation.quality_codes import parse_qualities
from generation.sampling import Sampling, generate, ws_of_seeds
from generation.walks import content_loop, frames, zoom
from generation.warps import WARPS, warp_points
from images.ranges import to_uint8
from networks.config import QualityConfig
from networks.generators.coordinates import Coordinates, line
from tests.support.networks import small_creps, small_generator, write_network
from tests.support.tolerance import assert_close


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
    "--warp=bend:0": lambda: Coordinates(line(16), line(16)),
    "--crop=0.25,0.25,0.75,0.75 --strict-crop": lambda: Coordinates(line(16, 0.25, 0.75), line(16, 0.25, 0.75)),
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


def test_the_flag_names_every_walk():
    assert set(script.WALKS) == making.WALKS.keys()


def test_warps_bend_the_window_and_keep_its_corners():
    assert tuple(WARPS) == WARP_NAMES
    coords = Coordinates(line(9, 0.2, 0.6), line(17, 0.1, 0.9))
    points = coords.points()
    for name in WARPS:
        assert_close(warp_points(coords, name, 0.0).points(), points)
        bent = warp_points(coords, name, 0.3).points()
        assert_close(bent[[0, 0, -1, -1], [0, -1, 0, -1]], points[[0, 0, -1, -1], [0, -1, 0, -1]])
        assert_close(bent[4, 8], points[4, 8] + torch.tensor([0.3 * 0.4 if name == "bend" else 0.0, 0.0]))
    bend, swirl, bulge = (warp_points(coords, name, 0.3).points() for name in ("bend", "swirl", "bulge"))
    assert_close(bend[:, :, 1], points[:, :, 1])
    quarter = torch.tensor([0.0, 0.25])  # of the window, to the right of its middle
    turn = 2 * math.pi * 0.3 * 0.5**2
    window = torch.tensor([0.4, 0.8])
    assert_close(swirl[4, 12], points[4, 8] + 0.25 * window * torch.tensor([math.sin(turn), math.cos(turn)]))
    assert_close(bulge[4, 12], points[4, 8] + window * quarter * 0.5**0.3)
    assert torch.isfinite(warp_points(Coordinates(line(1), line(1)), "swirl", 1.0).points()).all()


def test_a_zoom_goes_from_the_whole_image_into_the_window():
    framing = Framing(scale=2, crop=(0.7, 0.1, 0.9, 0.2), shift=(0.05, 0.0), rotate=30, warp=("bend", 0.2))
    first, middle, last = (framing.zoomed(share, 16) for share in (0.0, 0.5, 1.0))
    assert first == Framing(size=(32, 32), warp=("bend", 0.0)) and middle.size == last.size == (32, 32)
    assert np.allclose(last.crop, (0.75, 0.05, 0.95, 0.25)) and last.rotate == 30 and last.warp == ("bend", 0.2)
    side = 0.2**0.5  # each step magnifies as much as the one before
    assert np.isclose(middle.crop[2] - middle.crop[0], side) and middle.rotate == 15
    # The one point that all windows have in the same place.
    fixed = [0.75 / (1 - 0.2), 0.05 / (1 - 0.2)]
    for frame in (middle, last):
        assert np.allclose(
            [(fixed[axis] - frame.crop[axis]) / (frame.crop[2] - frame.crop[0]) for axis in (0, 1)], fixed
        )
    wide = Framing(size=(8, 16), crop=(0.4, 0.4, 0.6, 0.6))
    assert np.allclose(wide.zoomed(0.0, 16).crop, (0, 0.25, 1, 0.75))
    assert np.allclose(wide.zoomed(1.0, 16).crop, (0.3, 0.4, 0.7, 0.6))  # the window, made as wide as the frame
    assert np.allclose(Framing(crop=(0.5, 0.0, 1.5, 1.0)).zoomed(0.5, 16).crop, (0.25, 0, 1.25, 1))


WALK_FILES = {
    "--interpolate=zoom --crop=0.25,0.25,0.75,0.75": ["zoom.png"],
    "--interpolate=zoom --crop=0.25,0.25,0.75,0.75 --format=mp4": ["seed0000-zoom.mp4", "seed0001-zoom.mp4"],
    "--interpolate=content --scale=0.5": ["content.png"],
    "--interpolate=content --size=7x9 --format=mp4": ["content.mp4"],
}


@pytest.mark.parametrize("flags", WALK_FILES)
def test_walks_have_frames_too(networks, tmp_path, flags):
    result = call(networks / "creps.safetensors", f"--outdir={tmp_path}", "--steps=2", *flags.split())
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == WALK_FILES[flags]


def test_the_images_of_walks_are_those_at_the_coordinates():
    G = small_creps()
    sampling = Sampling(framing=Framing(crop=(0.25, 0.25, 0.75, 0.75)))
    path = [sampling.framing.zoomed(share, 16).coordinates(G) for share in (0.0, 1.0)]
    ws = ws_of_seeds(G, [0])
    for image, coords in zip(zoom(G, ws, None, [], path), path, strict=True):
        assert np.abs(image.astype(int) - at(G, coords)[0].astype(int)).max() <= 1
    loop = frames(G, content_loop(ws_of_seeds(G, [0, 1]), 1), None, [], 2, path[1])
    assert np.abs(np.stack(list(loop)).astype(int) - at(G, path[1]).astype(int)).max() <= 1


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
    "--grid --interpolate=content": "--grid has no effect with --interpolate; leave one of them out",
    "--warp=bent": "unknown warp 'bent'; did you mean 'bend'? Known: bend, bulge, swirl",
    "--warp=bend:much": "--warp='much' is not a number; write for example --warp=bend:0.2",
    "--strict-crop --crop=0.5,0,1.25,1": "--crop --strict-crop shows 0.25 sides beyond the image, must be 0 with",
    "--strict-crop --shift=0,-0.5": "--shift --strict-crop shows 0.5 sides beyond the image",
    "--strict-crop --rotate=45": "--rotate --strict-crop shows 0.207 sides beyond the image",
    "--interpolate=zoom": "--interpolate=zoom has nowhere to go from the whole image; add for example --crop=",
    "--interpolate=zoom --scale=2": "--interpolate=zoom has nowhere to go from the whole image",
    "--interpolate=zoom --crop=0,0,.5,.5 --size=0x8": "makes 0x8 pixels, must be at least 1 pixel a side",
    "--noise-mode=random": "--noise-mode=random is given, and this network has no noise; leave --noise-mode out",
}


@pytest.mark.parametrize("flags", REFUSALS)
def test_refusals(networks, tmp_path, flags):
    result = call(networks / "creps.safetensors", f"--outdir={tmp_path / 'none'}", *flags.split())
    assert isinstance(result.exception, SystemExit), result.exception
    [sentence] = result.output.strip().splitlines()
    assert REFUSALS[flags] in sentence
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("flag", ["--scale=2", "--crop=0,0,.5,.5", "--warp=bend", "--flip", "--strict-crop"])
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
