"""Table 2 with methods of other programs: their inputs as files, their results in the same table, and baselines."""

import json
import re
import shutil

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

import calc_metrics
from degradations.applied import Applied
from degradations.primitive import perform
from dnnlib.errors import UserError
from evaluation.choices import SLIGHT, TRACKS
from evaluation.photo_sets import DegradedPhotos, PhotoOptions
from evaluation.restorers import classical, deconvolution
from evaluation.restorers.results import OtherResults
from evaluation.tables.restoration import ranks
from networks.files import load
from tests.support.measures import CPU
from tests.support.networks import quality_generator, small_generator, write_network
from tests.support.runs import write_images

COUNT = 3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with photos, a QC network, a plain one, and what degrade-set writes."""
    folder = tmp_path_factory.mktemp("restoration")
    write_images(folder / "photos.zip", 5)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        write_network(folder / "qc.safetensors", quality_generator())
        write_network(folder / "plain.safetensors", small_generator())
        write_network(folder / "large.safetensors", small_generator(32))
    command("degrade-set", f"--data={folder / 'photos.zip'}", "--track=all", "-o", folder / "inputs")
    return folder


def command(*arguments, code=0):
    """Run the command; return what it prints, or the sentence with which it ends."""
    result = CliRunner().invoke(calc_metrics.main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout if code == 0 else result.stderr.splitlines()[-1]


def restoration(files, outdir, *arguments, code=0):
    flags = [f"--network={files / 'qc.safetensors'}", f"--data={files / 'photos.zip'}", f"--count={COUNT}", "--sheet=0"]
    flags += ["--method=projector", "--projector-steps=1", "--device=cpu", "-o", outdir]
    return command("restoration", *flags, *arguments, code=code)


def pixels(path):
    return np.asarray(PIL.Image.open(path))


def names(files):
    return sorted(path.stem for path in (files / "inputs" / "sharp").iterdir())


def test_the_set_holds_what_the_table_inverts(files):
    G = load(files / "qc.safetensors", CPU)
    manifest = json.loads((files / "inputs" / "manifest.json").read_text())
    assert manifest["tracks"] == list(TRACKS) and (manifest["seed"], manifest["resolution"]) == (0, 16)
    assert [photo["name"] for photo in manifest["photos"]] == names(files) and len(names(files)) == 5
    for track in TRACKS:
        photos = DegradedPhotos(PhotoOptions(str(files / "photos.zip")), track, G)
        sharp, degraded = photos.pairs(range(5))
        for number, name in enumerate(photos.file_names):
            for folder, images in (("sharp", sharp), (track, degraded)):
                stored = pixels(files / "inputs" / folder / f"{name}.png")
                assert np.array_equal(stored, images[number].permute(1, 2, 0).numpy())


def test_the_manifest_repeats_what_was_done(files):
    for photo in json.loads((files / "inputs" / "manifest.json").read_text())["photos"]:
        record = photo["tracks"]["jpeg"]
        image = pixels(files / "inputs" / "sharp" / f"{photo['name']}.png")
        for applied in record["applied"]:
            image = perform(image, Applied(**applied), np.random.default_rng(record["seed"]))
        assert np.array_equal(image, pixels(files / "inputs" / "jpeg" / f"{photo['name']}.png"))


def test_alike_photos_get_names_of_their_own(tmp_path):
    for folder in "ab":
        (tmp_path / "photos" / folder).mkdir(parents=True)
        shade = np.full((16, 16, 3), ord(folder), np.uint8)
        PIL.Image.fromarray(shade).save(tmp_path / "photos" / folder / "x.png")
    command("degrade-set", f"--data={tmp_path / 'photos'}", "--track=noise", "-o", tmp_path / "set")
    assert len(list((tmp_path / "set" / "noise").iterdir())) == 2
    sources = [photo["source"] for photo in json.loads((tmp_path / "set" / "manifest.json").read_text())["photos"]]
    assert sources == ["a/x.png", "b/x.png"]


def test_a_method_that_returns_the_sharp_photos_is_perfect_and_first(files, tmp_path):
    tracks = ("super_resolution", "jpeg")
    for track in tracks:
        shutil.copytree(files / "inputs" / "sharp", tmp_path / "perfect" / track)
    outdir = tmp_path / "tables"
    others = [f"--results=perfect={tmp_path / 'perfect'}", f"--results=same={files / 'inputs'}"]
    others += [f"--base={files / 'plain.safetensors'}", *(f"--track={track}" for track in tracks)]
    printed = restoration(files, outdir, *others)
    found = json.loads((outdir / "restoration.json").read_text())
    assert list(found["results"]) == ["projector", "input", "classical", "perfect", "same", "search"]
    for track in tracks:
        of = {name: found["results"][name][track] for name in found["results"]}
        perfect = of["perfect"]["restored"]
        assert perfect["psnr"] == float("inf") and abs(perfect["ssim"] - 1) < 1e-6
        assert perfect["pd_cifar"] == 0 and abs(perfect["fd_cifar"]) < 1e-6
        assert set(found["ranks"]["perfect"][track].values()) == {1}
        assert of["same"]["restored"] == of["input"]["restored"] == of["input"]["degraded"]
        assert found["ranks"]["same"][track] == found["ranks"]["input"][track]
        assert "reconstruction" in of["search"] and "reconstruction" not in of["perfect"]
    [row] = [line for line in printed.splitlines() if line.startswith("| perfect: jpeg")]
    assert row.split("|")[-7:-1] == [" 1 ", " 1 ", " 1 ", " - ", " - ", " 1 "]
    assert restoration(files, outdir, *others) == printed  # from the parts


def test_results_of_another_ending_count_by_their_names(files, tmp_path):
    (tmp_path / "noise").mkdir()
    for name in names(files):
        PIL.Image.open(files / "inputs" / "noise" / f"{name}.png").save(tmp_path / "noise" / f"{name}.BMP")
    photos = noise_photos(files)
    other = OtherResults("other", str(tmp_path))
    other.check(photos)
    _, degraded = photos.pairs(range(1, 3))
    assert torch.equal(other.restore(photos, range(1, 3), degraded).restored, degraded)


def noise_photos(files):
    return DegradedPhotos(PhotoOptions(str(files / "photos.zip"), COUNT), "noise", None)


def test_ranks_count_who_is_better():
    def row(psnr, lpips):
        return {"noise": {"restored": {"psnr": psnr, "lpips_alex": lpips}}}

    found = ranks({"a": row(30.0, 0.1), "b": row(30.0, 0.3), "c": row(20.0, 0.2)})
    assert [found[name]["noise"] for name in "abc"] == [
        {"psnr": 1, "lpips_alex": 1},
        {"psnr": 1, "lpips_alex": 3},
        {"psnr": 3, "lpips_alex": 2},
    ]


# The classical filters.


def smooth_image(side=64, channels=3):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.uniform(40, 210, (6, 6, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    return image.clip(0, 255).astype(np.uint8)[:, :, :channels]


def error(a, b):
    return np.square(a.astype(float) - b.astype(float)).mean()


@pytest.mark.parametrize("sigma", [5.0, 15.0, 25.0])
def test_the_noise_of_a_photo_is_estimated(sigma):
    noisy = smooth_image() + np.random.default_rng(1).normal(0, sigma, (64, 64, 3))
    assert abs(classical.noise_level(noisy.round().clip(0, 255).astype(np.uint8)) / sigma - 1) < 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_each_filter_undoes_something_of_its_track(channels):
    image = smooth_image(channels=channels)
    noisy = (image + np.random.default_rng(1).normal(0, 15, image.shape)).round().clip(0, 255).astype(np.uint8)
    edges = (np.indices((64, 64)).sum(0) // 16 % 2 * 150 + 50).astype(np.uint8)[:, :, None].repeat(channels, 2)
    blurred = cv2.GaussianBlur(edges, (0, 0), 1.0).reshape(edges.shape)
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_LINEAR)
    enlarged = cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR).reshape(image.shape)
    for track, sharp, degraded in (
        ("noise", image, noisy),
        ("blur", edges, blurred),
        ("super_resolution", image, enlarged),
    ):
        restored = classical.restore_classically(degraded, track)
        assert restored.shape == degraded.shape and restored.dtype == np.uint8
        assert error(restored, sharp) < 0.8 * error(degraded, sharp), track


def test_the_small_photo_is_recovered():
    small = np.random.default_rng(2).integers(0, 256, (16, 16, 3), np.uint8)
    enlarged = cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(classical.shrunk(enlarged) - small).max() < 1.5  # rounding to levels


def test_every_track_has_a_filter():
    assert set(classical.FILTERS) == {*TRACKS, SLIGHT}


def test_both_deconvolutions_sharpen_and_keep_what_is_flat():
    edges = (np.indices((64, 64)).sum(0) // 16 % 2 * 150 + 50).astype(np.uint8)[:, :, None]
    blurred = cv2.GaussianBlur(edges, (0, 0), deconvolution.gaussian_sigma(5.0)).reshape(edges.shape)
    for sharpen in (deconvolution.wiener, deconvolution.richardson_lucy):
        for flat in (np.full((20, 20, 3), 77, np.uint8), np.zeros((20, 20, 1), np.uint8)):
            assert np.array_equal(sharpen(flat, 5.0), flat)
        assert error(sharpen(blurred, 5.0), edges) < 0.8 * error(blurred, edges)
    errors = [error(deconvolution.richardson_lucy(blurred, 5.0, count), edges) for count in (0, 5, 20)]
    assert errors[0] == error(blurred, edges) and errors == sorted(errors, reverse=True)


# What is refused.


def incomplete(folder, files):
    (folder / "noise" / f"{names(files)[1]}.png").unlink()


def misnamed(folder, files):
    path = folder / "noise" / f"{names(files)[1]}.png"
    path.rename(path.with_name("another.png"))


def another_size(folder, files):
    path = folder / "noise" / f"{names(files)[2]}.png"
    PIL.Image.open(path).resize((8, 8)).save(path)


def damaged(folder, files):
    (folder / "noise" / f"{names(files)[0]}.png").write_bytes(b"no image")


def without_track(folder, files):
    shutil.rmtree(folder / "noise")


FOLDERS = [
    (incomplete, r"noise has no \S+.png \(1 of 3 are missing\); name each result as"),
    (misnamed, r"are missing\), but another.png, which is none of the photos; name each"),
    (another_size, "has 8x8 pixels, its photo has 16x16; give results of the photos' size"),
    (damaged, "cannot be read"),
    (without_track, "there is no folder "),
]


@pytest.mark.parametrize(("spoil", "sentence"), FOLDERS)
def test_wrong_results_are_one_sentence(files, tmp_path, spoil, sentence):
    shutil.copytree(files / "inputs", tmp_path / "other")
    spoil(tmp_path / "other", files)
    with pytest.raises(UserError) as caught:
        OtherResults("other", str(tmp_path / "other")).check(noise_photos(files))
    assert re.search(sentence, str(caught.value)) and "\n" not in str(caught.value)


REFUSALS = [
    (["--results=other"], "--results=other is no name and folder; write for example"),
    (["--results=../x=inputs"], "has a name that no sheet can be named by"),
    (["--results=input=inputs"], "has the name of another row of the table"),
    (["--results=a=inputs", "--results=a=inputs"], "has the name of another row of the table"),
    (["--baseline=none", "--baseline=input"], "--baseline=none contradicts the other --baseline"),
    (["--baseline=richardson-lucy"], "restores blurred photos alone, and --track=noise is another track; choose"),
    (["--base=qc.safetensors"], "has a quality code; give the plain network"),
    (["--base=large.safetensors"], "makes images of 32 px and 3 channels, --network of 16 px and 3; give one"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS, ids=[" ".join(a) for a, _ in REFUSALS])
def test_wrong_flags_are_one_sentence(files, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(files)
    assert sentence in restoration(files, tmp_path, "--track=noise", *arguments, code=1)


def test_wrong_sets_are_one_sentence(files, tmp_path, monkeypatch):
    write_images(tmp_path / "photos.zip", 2)
    monkeypatch.chdir(tmp_path)
    assert "must be at most 2" in command("degrade-set", "--data=photos.zip", "--count=9", "-o", "set", code=1)
    assert "cannot write to" in command("degrade-set", "--data=photos.zip", "-o", "photos.zip/set", code=1)
    (tmp_path / "folder").mkdir()
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "folder" / "a.png")
    assert "is that of the photos" in command("degrade-set", "--data=folder", "-o", "folder", code=1)
