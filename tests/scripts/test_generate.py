"""Generation: which image a seed is, independence of the batch, exact sharpness, quality codes, files, bad input."""

import dataclasses
import io
import json
import math
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import generate as script
from dnnlib.errors import UserError
from generation.quality_codes import parse_qualities, random_code, read_codes, seed_code
from generation.rendering import render
from generation.sampling import Sampling, generate, noise_of_seeds, ws_of_seeds, z_of_seeds
from generation.walks import content_loop, frames, path_through, quality_path
from images.figures import GAP, MIN_TILE, labelled_grid
from images.ranges import to_uint8
from images.video.writer import count_frames, write_mp4
from images.writer import ImageWriter
from networks.files import load, with_precision
from networks.latents import Latents
from tests.support.networks import SMALL, quality_generator, small_generator, write_network
from tests.support.processes import warm_starts
from tests.support.tolerance import assert_close

SEEDS = [0, 1, 2, 3, 4, 5, 6, 12]
FILES = {"qc": "qc", "plain": "plain", "conditional": "classes"}


@pytest.fixture(scope="module")
def networks(network_files):
    """Paths of a QC network, a plain one and a conditional one."""
    return {name: network_files / f"{file}.safetensors" for name, file in FILES.items()}


def call(network, *arguments, **flags):
    flags = {"device": "cpu", **flags}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    return CliRunner().invoke(script.main, [f"--network={network}", *flags, *arguments])


def run(network, outdir, *arguments, **flags):
    result = call(network, *arguments, outdir=outdir, **flags)
    assert result.exit_code == 0, result.output
    return sorted(path.name for path in Path(outdir).iterdir())


def refused(network, *arguments, **flags):
    """Return the one sentence that a call ends with."""
    flags = {"seeds": "0-3", **flags}
    result = call(network, *arguments, **flags)
    assert result.exit_code == 1, (result.exit_code, result.output)
    assert isinstance(result.exception, SystemExit), result.exception
    [sentence] = result.output.strip().splitlines()
    assert sentence.startswith("Error: ")
    return sentence


def pixels(path):
    return np.asarray(PIL.Image.open(path))


def images_of(G, seeds, qualities, **sampling):
    """Return uint8 `[K, S, H, W, C]`."""
    return np.concatenate([views.images for views in generate(G, seeds, qualities, Sampling(**sampling))], axis=1)


# Which image a seed is.


def test_image_is_that_of_the_seed_in_numpys_old_generator():
    G = quality_generator()
    z = torch.tensor(np.random.RandomState(12).randn(1, G.z_dim), dtype=torch.float32)
    q = torch.tensor(np.random.RandomState(5).randn(1, G.q_dim), dtype=torch.float32)
    ws = G.mapping(z, None, truncation_psi=0.7)
    sharp, degraded = images_of(G, [12], parse_qualities(["sharp", "seed:5"], [12], G.q_dim), truncation_psi=0.7)
    assert np.array_equal(sharp, to_uint8(G.synthesis(ws, noise_mode="const")))
    assert np.array_equal(degraded, to_uint8(G.synthesis(ws, q, noise_mode="const")))
    assert (sharp != degraded).mean() > 0.1


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5))
def test_latents_are_drawn_seed_by_seed(seeds):
    expected = [np.random.RandomState(seed).randn(1, 8)[0] for seed in seeds]
    assert torch.equal(z_of_seeds(seeds, 8), torch.tensor(np.array(expected), dtype=torch.float32))


@given(st.integers(0, 2**32 - 1), st.integers(0, 99))
def test_random_code_is_reproducible_and_not_the_latent(seed, index):
    code = random_code(seed, 16, index)
    assert np.array_equal(code, np.random.RandomState([seed, index]).randn(1, 16).astype(np.float32))
    for other in (seed_code(seed, 64), random_code(seed, 64, index + 1)):
        assert np.isin(code, other).sum() <= 1  # two float32 numbers may be equal by chance


def test_random_codes_are_independent_of_the_latents():
    z = z_of_seeds(range(2000), 4).numpy()
    q = np.concatenate([random_code(seed, 4) for seed in range(2000)])
    correlation = np.corrcoef(z.T, q.T)[:4, 4:]
    assert np.abs(correlation).max() < 5 / math.sqrt(2000)


def test_class_selects_the_label(networks):
    G = load(networks["conditional"], torch.device("cpu"))
    expected = G.mapping(z_of_seeds([3], G.z_dim), torch.eye(5)[2:3])
    assert torch.equal(ws_of_seeds(G, [3], Sampling(class_index=2)), expected)
    assert not torch.allclose(ws_of_seeds(G, [3], Sampling(class_index=1)), expected)


# Independence of the batch.


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
@pytest.mark.parametrize("variant", ["paper", "paper+", "pixels", "released", "adain"])
def test_an_image_does_not_depend_on_its_batch(noise_mode, variant):
    G = quality_generator(variant)
    [quality] = parse_qualities(["random"], SEEDS, G.q_dim)

    def batch(rows):
        seeds = [SEEDS[row] for row in rows]
        ws, noise = ws_of_seeds(G, seeds), noise_of_seeds(G, seeds, noise_mode)
        return torch.stack(render(G, Latents(ws), [None, torch.tensor(quality.codes[rows])], noise))

    with torch.no_grad():
        together = batch(list(range(8)))
        alone = torch.cat([batch([row]) for row in range(8)], dim=1)
        shuffled = batch([5, 2, 7])
    assert_close(together, alone, 1e-5)
    assert_close(together[:, [5, 2, 7]], shuffled, 1e-5)


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_batch_size_changes_hardly_any_pixel(noise_mode):
    G = quality_generator()
    qualities = parse_qualities(["sharp", "random"], SEEDS, G.q_dim)
    one, three, eight = (images_of(G, SEEDS, qualities, noise_mode=noise_mode, batch=batch) for batch in (1, 3, 8))
    for other in (one, three):
        assert other.shape == (2, 8, 16, 16, 3)
        assert (other != eight).mean() < 1e-3
        assert np.abs(other.astype(int) - eight).max() <= 1


def test_random_noise_is_each_seeds_own_and_shared_by_its_qualities():
    G = quality_generator(zero_start=True)  # the DegradBlocks add nothing, so a difference would be the noise's
    qualities = parse_qualities(["sharp", "seed:1"], [3, 4], G.q_dim)
    sharp, degraded = images_of(G, [3, 4], qualities, noise_mode="random")
    assert np.array_equal(sharp, degraded)
    first, second = noise_of_seeds(G, [3, 4], "random")[-1][-1]
    assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]) < 0.3
    assert torch.equal(noise_of_seeds(G, [9, 4], "random")[-1][-1][1], second)


# Exact sharpness.


@pytest.mark.parametrize("variant", ["paper", "paper+", "pixels", "released", "adain"])
def test_zero_code_is_the_sharp_image_bit_for_bit(variant):
    G = quality_generator(variant)
    ws, noise = ws_of_seeds(G, SEEDS), noise_of_seeds(G, SEEDS, "random")
    q = torch.tensor(parse_qualities(["random"], SEEDS, G.q_dim)[0].codes)
    some = torch.tensor([True, False, False, True, True, False, True, False])
    with torch.no_grad():
        sharp, zero, mixed, degraded = render(G, Latents(ws), [None, 0 * q, torch.where(some[:, None], 0, q), q], noise)
        assert torch.equal(sharp, G.synthesis(ws, noise=noise))
    assert torch.equal(sharp, zero)
    assert torch.equal(mixed, torch.where(some[:, None, None, None], sharp, degraded))
    assert (mixed != sharp).flatten(1).any(1).equal(~some)


def test_rows_without_a_code_never_pass_the_degradblocks(monkeypatch):
    G = quality_generator()
    ws, noise, q = ws_of_seeds(G, [0, 1]), noise_of_seeds(G, [0, 1]), torch.tensor([[0.0] * 4, [1.0] * 4])
    image = G.synthesis.image

    def marked(content, q=None):
        images = image(content, q)
        return images if q is None else torch.full_like(images, 9)

    monkeypatch.setattr(G.synthesis, "image", marked)
    sharp, mixed = render(G, Latents(ws), [None, q], noise)
    assert torch.equal(mixed[0], sharp[0])
    assert mixed[1].eq(9).all()


def test_scale_zero_is_sharp_and_scale_multiplies():
    G = quality_generator()
    doubled, none = (parse_qualities(["seed:5"], [0], 4, scale=scale)[0] for scale in (2, 0))
    assert np.array_equal(doubled.codes, 2 * seed_code(5, 4))
    sharp, same = images_of(G, [0], [*parse_qualities(["sharp"], [0], 4), none])
    assert np.array_equal(sharp, same)


# Quality codes.


def write_codes(path, codes):
    codes = np.asarray(codes)
    if path.suffix == ".npy":
        np.save(path, codes)
    elif path.suffix == ".npz":
        np.savez(path, q=codes)
    elif path.suffix == ".json":
        path.write_text(json.dumps(codes.tolist()))
    else:
        np.savetxt(path, codes)
    return path


@pytest.mark.parametrize("ending", [".npy", ".npz", ".json", ".txt"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_files_hold_one_code_or_one_a_seed(ending, count, tmp_path):
    codes = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    path = write_codes(tmp_path / f"my codes{ending}", codes)
    if count == 2:
        with pytest.raises(UserError, match="holds 2 codes for 3 seeds; give 1 or 3"):
            parse_qualities([str(path)], [7, 8, 9], 4)
        return
    [quality] = parse_qualities([str(path)], [7, 8, 9], 4)
    assert quality.label == "my_codes"
    assert np.array_equal(quality.codes, np.broadcast_to(codes, (3, 4)))


@pytest.mark.parametrize("ending", [".npy", ".npz", ".json", ".txt"])
def test_a_single_code_may_be_a_plain_vector(ending, tmp_path):
    path = write_codes(tmp_path / f"code{ending}", np.array([1.0, -2.0, 0.5, 3.0]))  # savetxt: a number a line
    assert read_codes(path, 4).tolist() == [[1.0, -2.0, 0.5, 3.0]]


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=16, max_size=16), st.sampled_from([",", ", ", " "]))
def test_numbers_on_the_command_line(numbers, separator):
    [quality] = parse_qualities([separator.join(repr(number) for number in numbers)], [0, 1], 16)
    assert np.array_equal(quality.codes, np.float32([numbers, numbers]))


def test_labels_are_unique_and_sharp_comes_once(tmp_path):
    path = write_codes(tmp_path / "sharp.npy", np.ones(4))
    texts = ["sharp", "seed:5", "1,2,3,4", "4,3,2,1", "sharp", str(path), "random"]
    labels = [quality.label for quality in parse_qualities(texts, [0], 4, degradations=2)]
    assert labels == ["sharp", "seed5", "given", "given-2", "sharp-2", "random", "random0", "random1"]


# Paths.


@given(st.integers(1, 4), st.integers(1, 7))
def test_paths_meet_their_keys_and_are_even(keys, steps):
    points = torch.randn(keys + 1, 2, 3, dtype=torch.float64)
    path = path_through(points, steps)
    assert len(path) == keys * steps + 1
    assert torch.equal(path[::steps], points)
    for index in range(keys):
        pace = (path[1:] - path[:-1])[index * steps : (index + 1) * steps]
        assert_close(pace, pace[:1].expand_as(pace), 1e-9)


def test_content_loop_closes_and_quality_path_starts_sharp():
    ws = torch.randn(3, 6, 16)
    loop = content_loop(ws, 5)
    assert loop.shape == (15, 6, 16)
    assert torch.equal(loop[::5], ws)
    assert_close(loop[-1] + (ws[0] - ws[2]) / 5, ws[0])
    path = quality_path(torch.ones(2, 4), 3)
    assert path.shape == (7, 4)
    assert not path[0].any()


def test_frames_are_the_images_of_the_path():
    G = quality_generator()
    ws, noise = ws_of_seeds(G, [2]), noise_of_seeds(G, [2], "random")
    q = quality_path(torch.tensor(seed_code(5, 4)), 4)
    strip = np.stack(list(frames(G, ws, q, noise, batch=3)))
    ends = images_of(G, [2], parse_qualities(["sharp", "seed:5"], [2], 4), noise_mode="random")
    assert len(strip) == 5
    assert np.array_equal(strip[0], ends[0, 0])
    assert np.abs(strip[-1].astype(int) - ends[1, 0]).max() <= 1
    assert len(list(frames(G, content_loop(ws_of_seeds(G, [0, 1]), 3), q[1:2], noise, batch=4))) == 6


# Figures, videos, files.


@pytest.mark.parametrize(("resolution", "channels"), [(16, 3), (64, 3), (512, 1)])
def test_grid_holds_the_images_and_legible_labels(resolution, channels):
    images = np.random.default_rng(0).integers(100, 200, (2, 3, resolution, resolution, channels), np.uint8)
    figure = labelled_grid(images, ["seed 0", "seed 4294967295"], ["sharp", "random0", "a_long_file_name" * 9])
    factor = math.ceil(MIN_TILE / resolution)
    tile = factor * resolution + GAP
    body = figure[-GAP - 2 * tile : -GAP, -GAP - 3 * tile : -GAP]
    for row in range(2):
        for column in range(3):
            left, top = column * tile + GAP, row * tile + GAP
            shown = body[top : top + tile - GAP : factor, left : left + tile - GAP : factor]
            assert np.array_equal(shown, images[row, column])
    above, beside = figure[: -GAP - 2 * tile], figure[-GAP - 2 * tile : -GAP, : -GAP - 3 * tile]
    for column in range(3):
        ink = above[:, beside.shape[1] + column * tile :][:, :tile] < 80
        assert ink.any(axis=(1, 2)).sum() >= 7  # pixels high
    for row in range(2):
        assert (beside[row * tile :][:tile] < 80).any(axis=(1, 2)).sum() >= 7


@pytest.mark.parametrize("shape", [(16, 16, 3), (64, 64, 1), (101, 103, 3)])
def test_video_holds_every_frame(shape, tmp_path):
    images = [np.full(shape, 20 * index, np.uint8) for index in range(11)]
    assert write_mp4(tmp_path / "walk.mp4", iter(images), fps=10) == 11
    assert count_frames(tmp_path / "walk.mp4") == 11
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]


def test_video_keeps_colours(tmp_path):
    red = np.full((64, 64, 3), (200, 30, 60), np.uint8)
    write_mp4(tmp_path / "red.mp4", [red] * 3, fps=10)
    _, frame = cv2.VideoCapture(str(tmp_path / "red.mp4")).read()
    assert frame.shape == (128, 128, 3)  # twice as large, to reach MIN_TILE
    assert np.abs(frame[..., ::-1].mean(axis=(0, 1)) - red[0, 0]).max() < 6


def test_interrupted_video_leaves_nothing(tmp_path):
    def images():
        yield np.zeros((64, 64, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mp4(tmp_path / "walk.mp4", images(), fps=10)
    assert not list(tmp_path.iterdir())


def test_writer_raises_what_a_thread_met(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UserError, match="cannot write"), ImageWriter(pending=1) as writer:
        for index in range(3):
            writer.write(tmp_path / "nowhere" / f"{index}.png", image)
    with ImageWriter(threads=2, pending=2) as writer:
        for index in range(9):
            writer.write(tmp_path / f"{index}.png", image + index)
    assert [pixels(tmp_path / f"{index}.png")[0, 0, 0] for index in range(9)] == list(range(9))


def test_codes_describe_every_image(networks, tmp_path):
    arguments = {"seeds": "0-2,12", "trunc": 0.7, "noise_mode": "random", "quality_scale": 0.5, "degradations": 2}
    names = run(networks["qc"], tmp_path, "--quality=sharp", "--quality=seed:5", "--grid", "--save-codes", **arguments)
    described = json.loads((tmp_path / "codes.json").read_text())
    records = described["images"]
    assert sorted(record["file"] for record in records) == [name for name in names if name.startswith("seed")]
    assert {"seed0012.png", "seed0012-seed5.png", "seed0012-random0.png", "seed0012-random1.png"} < set(names)
    assert described["licence"] == "CC0"

    G = load(networks["qc"], torch.device("cpu"))
    arrays = np.load(tmp_path / "codes.npz")
    assert arrays["filename"].tolist() == [record["file"] for record in records]
    assert np.array_equal(arrays["q"], np.array([record["q"] for record in records], np.float32))
    for ws, q, record in zip(arrays["ws"], arrays["q"], records, strict=True):
        assert (record["class"], record["truncation_psi"], record["noise_mode"]) == (None, 0.7, "random")
        assert (record["quality"] == "sharp") == (not q.any())
        noise = noise_of_seeds(G, [record["seed"]], "random")
        image = to_uint8(G.synthesis(torch.tensor(ws[None]), torch.tensor(q[None]), noise=noise))[0]
        assert np.abs(image.astype(int) - pixels(tmp_path / record["file"])).max() <= 1
    random = {record["file"]: record["q"] for record in records}
    assert np.array_equal(np.float32(random["seed0012-random1.png"]), 0.5 * random_code(12, 4, 1)[0])
    assert pixels(tmp_path / "grid.png").shape[1] > 4 * MIN_TILE


def test_plain_and_conditional_networks(networks, tmp_path):
    assert run(networks["plain"], tmp_path / "plain", "--grid", seeds="0,7") == [
        "codes.json",
        "grid.png",
        "seed0000.png",
        "seed0007.png",
    ]
    run(networks["conditional"], tmp_path / "c1", "--class=1", seeds="0")
    run(networks["conditional"], tmp_path / "c2", "--class=2", seeds="0")
    assert (pixels(tmp_path / "c1/seed0000.png") != pixels(tmp_path / "c2/seed0000.png")).any()
    assert json.loads((tmp_path / "c2/codes.json").read_text())["images"][0]["class"] == 2


def test_same_command_same_bytes_whatever_the_number_of_processes(networks, tmp_path):
    arguments = {"seeds": "0-4", "quality": "random", "noise_mode": "random", "batch": 1}
    flags = {"one": [], "again": [], "two": ["--processes=2"]}
    for name, more in flags.items():
        with warm_starts():
            run(networks["qc"], tmp_path / name, "--grid", "--save-codes", *more, **arguments)
    for path in (tmp_path / "one").iterdir():
        for name in ("again", "two"):
            assert path.read_bytes() == (tmp_path / name / path.name).read_bytes()


def test_processes_share_videos(networks, tmp_path):
    flags = {"seeds": "0,1", "interpolate": "quality", "quality": "seed:5", "steps": 2}
    with warm_starts():
        names = run(networks["qc"], tmp_path, "--output=mp4", "--gpus=2", **flags)
    assert names == ["seed0000-quality.mp4", "seed0001-quality.mp4"]
    assert "a strip is made by one process" in refused(networks["qc"], "--gpus=2", **flags)


def test_interpolations(networks, tmp_path):
    run(networks["qc"], tmp_path, "--interpolate=quality", "--quality=seed:5", seeds="0,1", steps=3, output="mp4")
    run(networks["qc"], tmp_path, "--interpolate=quality", "--quality=random", seeds="0,1", steps=3)
    run(networks["qc"], tmp_path, "--interpolate=content", seeds="0,1,0", steps=4, output="mp4", fps=12)
    names = run(networks["qc"], tmp_path, "--interpolate=content", "--quality=random", seeds="0-2", steps=2)
    videos = {"seed0000-quality.mp4": 4, "seed0001-quality.mp4": 4, "content.mp4": 12}
    assert set(names) == {*videos, "quality.png", "content-random.png"}
    assert {name: count_frames(tmp_path / name) for name in videos} == videos


def test_precision_changes_the_arithmetic_alone():
    precision = dataclasses.replace(SMALL.precision, dtype="bf16", blocks=1)
    G = small_generator(precision=precision)
    full = with_precision(G, "fp32")
    assert {full.synthesis.block(index).dtype for index in range(3)} == {torch.float32}
    assert G.synthesis.block(-1).dtype == torch.bfloat16
    ws = ws_of_seeds(full, [0, 1])
    assert torch.equal(ws, ws_of_seeds(G, [0, 1]))
    assert_close(full.synthesis(ws, noise_mode="const"), G.synthesis(ws, noise_mode="const"), 0.05)


def test_stored_float16_is_float32_on_a_cpu(tmp_path, caplog):
    G = small_generator(precision=dataclasses.replace(SMALL.precision, dtype="fp16"))
    loaded = load(write_network(tmp_path / "half.safetensors", G), torch.device("cpu"))
    assert loaded.synthesis.block(-1).dtype == torch.float32
    assert "fp32 is used" in caplog.text


# Bad input: one sentence, before any work.


@pytest.mark.parametrize(
    ("kind", "flags", "sentence"),
    [
        ("qc", {"seeds": "0-"}, "'0-' in '0-' is neither a number nor a range"),
        ("qc", {"seeds": "3,4,3"}, "names 3 twice"),
        ("qc", {"seeds": 2**32}, "must be at most 4294967295"),
        ("qc", {"trunc": "nan"}, "--trunc=nan must be finite"),
        ("qc", {"quality_scale": "inf"}, "--quality-scale=inf must be finite"),
        ("qc", {"quality": "seed:4", "quality_scale": 1e39}, "must be finite"),
        ("qc", {"quality": "1,2,3"}, "--quality has 3 numbers, needs 4"),
        ("qc", {"quality": "1,2,3,x"}, "write 4 numbers with commas"),
        ("qc", {"quality": "1,2,3,nan"}, "number 4 of code 1 is nan, must be finite"),
        ("qc", {"quality": "randm"}, "did you mean 'random'?"),
        ("qc", {"quality": "seed:-1"}, "no seed from 0 to 4294967295"),
        ("qc", {"quality": "codes.npy"}, "quality file codes.npy does not exist"),
        ("qc", {"class": 0}, "this network has no classes; leave --class out"),
        ("conditional", {}, "this network has 5 classes; choose one"),
        ("conditional", {"class": 5}, "choose from 0 to 4"),
        ("conditional", {"class": -1}, "choose from 0 to 4"),
        ("plain", {"quality": "seed:5"}, "--quality=seed:5 needs a QC network"),
        ("plain", {"degradations": 2}, "--degradations=2 needs a QC network"),
        ("plain", {"interpolate": "quality"}, "nowhere to go from sharp"),
        ("qc", {"interpolate": "content", "seeds": 4}, "at least two seeds"),
        ("qc", {"steps": 4}, "--steps has no effect without --interpolate"),
        ("qc", {"interpolate": "content", "fps": 4}, "--fps=4 belongs to a video"),
        ("qc", {"interpolate": "content", "steps": 4000}, "take fewer seeds, qualities or steps"),
        ("qc", {"outdir": "/proc/nowhere"}, "choose another --outdir"),
        ("qc", {"outdir": __file__}, "choose another --outdir"),
        ("qc", {"device": "abacus"}, "unknown device 'abacus'"),
        ("qc", {"grid": True, "interpolate": "content"}, "--grid has no effect with --interpolate"),
        ("none", {}, "does not exist"),
        ("short", {}, "is truncated"),
    ],
)
def test_refusals(networks, tmp_path, kind, flags, sentence):
    (tmp_path / "short.safetensors").write_bytes(networks["qc"].read_bytes()[:-100])
    network, outdir = networks.get(kind, tmp_path / f"{kind}.safetensors"), tmp_path / "out"
    switches = [f"--{name}" for name, value in flags.items() if value is True]
    values = {name: value for name, value in flags.items() if value is not True}
    assert sentence in refused(network, *switches, **{"outdir": outdir, **values})
    assert not outdir.exists()


def objects_as_array():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


OBJECTS = objects_as_array()  # which nobody may unpickle


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("q.json", b"[[1, 2, 3, NaN]]", "number 4 of code 1 is nan"),
        ("q.json", b"[[1, 2, 3], [4]]", "damaged or holds no numbers"),
        ("q.json", b'{"codes": []}', "no entry 'q'"),
        ("q.json", b"null", "holds 1 numbers, needs 4"),
        ("q.json", b"[]", "holds 0 numbers, needs 4"),
        ("q.txt", b"1 2 3 4 5", "holds 1 x 5 numbers, needs 4"),
        ("q.txt", b"one two", "damaged or holds no numbers"),
        ("q.txt", b"\xff\xfe", "damaged or holds no numbers"),
        ("q.npy", b"\x93NUMPY", "damaged or holds no numbers"),
        ("q.npy", b"", "damaged or holds no numbers"),
        ("q.npy", OBJECTS, "damaged or holds no numbers"),
        ("q.npz", b"PK\x03\x04", "damaged or holds no numbers"),
        ("q.jpg", b"", "convert it to one of them"),
    ],
)
def test_bad_quality_files(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as error:
        parse_qualities([str(tmp_path / name)], [0], 4)
    assert "\n" not in str(error.value)
