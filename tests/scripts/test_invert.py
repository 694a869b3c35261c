"""The commands of invert.py on photos and clips: what they write, when they do nothing, and how they fail."""

import io
import itertools
import re
import shutil
from dataclasses import asdict, replace

import click
import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

import calc_metrics
import invert
from dnnlib.files import sha256
from generation.rendering import synthesize
from images.photos import from_network, read_photo
from images.squares import Square, centre_square
from images.video import reader
from images.video.reader import read_clip
from inversion.commands.building import make_inverter, tell_of_subject
from inversion.commands.degrade import folder_name
from inversion.commands.options import InverterFlags, TuningFlags
from inversion.directions.direction import Direction, load_direction, normalise, save_direction
from inversion.directions.editing import edited_images
from inversion.encoders.encoder import build_encoder
from inversion.encoders.files import find_encoder, load_encoder, save_encoder
from inversion.inverter import InversionOptions, Inverter
from inversion.photos.alignment import AFHQ
from inversion.photos.face_detectors import Face
from inversion.photos.paste_back import paste_back
from inversion.photos.reader import PhotoReader
from inversion.photos.tasks import stored_codes
from inversion.projector import ProjectorOptions
from inversion.quality.requality import interpolate_quality, sample_quality, scale_quality
from inversion.tuned_weights import load_inversion
from inversion.tuning_options import TUNINGS, TuningOptions
from inversion.video.smoothing import smooth_rows
from networks.files import load_generator
from networks.latents import Latents
from tests.support.clips import EVEN, make, sound_packets
from tests.support.encoders import TINY, write_encoder
from tests.support.networks import quality_generator, write_network
from tests.support.processes import warm_starts
from tests.support.runs import png
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import load_tensors, read_header

CPU = torch.device("cpu")
PROJECTOR = ProjectorOptions(steps=3, q_starts=2)
TUNING = TuningOptions(steps=2, locality_codes=1, lr=0.01)
QUICK = ["--device=cpu", "--projector-steps=3", "--set=projector.q_starts=2"]
TUNED = [*QUICK, "--tuning-steps=2", "--set=tuning.locality_codes=1", "--set=tuning.lr=0.01"]
UNTUNED = [*QUICK, "--tuning-steps=0"]
GOOD = ["alpha", "gray", "small", "sub/turned", "wide"]  # in the order in which they are found


def run(*arguments):
    return CliRunner().invoke(invert.main, [str(argument) for argument in arguments], catch_exceptions=False)


def sentence(result, code=1):
    """Return the one sentence that a failed command says."""
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr.removeprefix("Error: ").rstrip("\n")


def counts_in(line):
    """Return the numbers in a line such as `5 restored, 1 were done before, 2 skipped; results in out/`."""
    pattern = r"(\d+) \w+(?:, (\d+) were done before)?(?:, (\d+) skipped)?; results in .*/"
    return [int(number or 0) for number in re.fullmatch(pattern, line).groups()]


def done(result, *counts):
    """Check the numbers in the one line that a command prints, or the text that it prints."""
    assert result.exit_code == 0, result.output
    if isinstance(counts[0], str):
        assert result.stdout == f"{counts[0]}\n"
        return
    assert counts_in(result.stdout.rstrip("\n")) == [*counts, 0], result.output


def image(path):
    return np.array(PIL.Image.open(path))


def scene(seed, width, height):
    return PIL.Image.open(io.BytesIO(png(seed))).resize((width, height), PIL.Image.Resampling.BICUBIC)


def write_photos(folder):
    """Write photos of several kinds: 16x16, gray, transparent, wide, and one of 40x30 that EXIF turns upright."""
    (folder / "sub").mkdir(parents=True)
    scene(0, 16, 16).save(folder / "small.png")
    scene(1, 20, 20).convert("L").save(folder / "gray.png")
    transparent = scene(2, 18, 24)
    transparent.putalpha(PIL.Image.linear_gradient("L").resize((18, 24)))
    transparent.save(folder / "alpha.png")
    scene(3, 50, 33).save(folder / "wide.JPG", quality=95)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    scene(4, 40, 30).save(folder / "sub" / "turned.jpg", exif=exif, quality=95)
    return folder


@pytest.fixture(scope="module", name="files")
def _files(network_files, tmp_path_factory):
    """Networks, an encoder, a direction, photos, and what restore has made of them."""
    folder = shutil.copytree(network_files, tmp_path_factory.mktemp("files"), dirs_exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        network = sha256(folder / "qc.safetensors")
        direction = Direction(normalise(torch.randn(16)), 1.5, "warmth", "sefa", network=network)
        save_direction(folder / "warmth.safetensors", direction)
        save_direction(folder / "wide.safetensors", Direction(normalise(torch.randn(20)), 1.0, "wide", "sefa"))
    write_photos(folder / "photos")
    (folder / "empty").mkdir()
    done(restore(folder, folder / "restored", "--paste-back"), 5, 0)
    return folder


def restore(files, outdir, *extra, photos=None, options=TUNED):
    source = photos or files / "photos"
    network = f"--network={files / 'qc.safetensors'}"
    return run("restore", network, "--fidelity=0", *options, "-i", source, "-o", outdir, *extra)


@pytest.fixture(name="photos")
def _photos(files, tmp_path):
    return shutil.copytree(files / "photos", tmp_path / "photos")


@pytest.fixture(name="one")
def _one(files):
    """The arguments of a command on one photo."""
    return [f"--network={files / 'qc.safetensors'}", "-i", files / "photos" / "wide.JPG"]


@pytest.fixture(name="inverter")
def _inverter(files):
    return Inverter(files / "qc.safetensors", CPU, InversionOptions(projector=PROJECTOR, tuning=TUNING))


def stored(files, name, folder="restored"):
    return load_inversion(files / folder / f"codes/{name}.safetensors", files / "qc.safetensors")


@pytest.fixture(name="never_inverts")
def _never_inverts(monkeypatch):
    def refuse(*_):
        raise AssertionError("a photo is inverted again")

    monkeypatch.setattr(Inverter, "invert", refuse)


# restore


def test_every_photo_has_its_results(files):
    kinds = {"restored": "png", "reconstruction": "png", "strips": "png", "pasted": "png", "codes": "safetensors"}
    found = {path.relative_to(files / "restored").as_posix() for path in (files / "restored").rglob("*.*")}
    expected = {f"{kind}/{name}.{ending}" for name in GOOD for kind, ending in kinds.items()}
    assert found == expected | {"done-restore.jsonl"}
    for name in GOOD:
        shapes = {image(files / "restored" / each / f"{name}.png").shape for each in ("restored", "reconstruction")}
        assert shapes == {(16, 16, 3)}
    square = stored(files, "sub/turned").settings["square"]
    assert square == [15, 20, 30, 0]  # the middle of the upright photo


@pytest.mark.parametrize("name", GOOD)
def test_images_are_those_of_the_stored_codes(files, inverter, name):
    inversion = stored(files, name)
    assert inversion.latents.q.any() and inversion.tuned.differences
    for ending, latents in {"reconstruction": inversion.latents, "restored": inversion.latents.sharp()}.items():
        [expected] = from_network(inverter.images(inversion, latents))
        assert np.array_equal(image(files / "restored" / ending / f"{name}.png"), expected)


def test_the_python_call_finds_the_same(files, inverter):
    names = GOOD[:4]  # the command's first batch
    reader = PhotoReader(inverter.G)
    paths = [next((files / "photos").glob(f"{name}.*")) for name in names]
    found = inverter.invert(torch.cat([reader.read(path).target for path in paths]))
    for name, inversion in zip(names, found, strict=True):
        command = stored(files, name)
        assert_close(inversion.latents.ws, command.latents.ws)
        assert_close(inversion.latents.q, command.latents.q)
        assert inversion.tuned.differences.keys() == command.tuned.differences.keys()
        assert inversion.settings.items() <= command.settings.items()


def test_pasting_back_leaves_the_rest_of_the_photo(files):
    photo = read_photo(files / "photos" / "wide.JPG")
    pasted = image(files / "restored" / "pasted/wide.png")
    assert pasted.shape == photo.shape == (33, 50, 3)
    outside = np.ones((33, 50), bool)
    outside[:, 8:41] = False
    assert np.array_equal(pasted[outside], photo[outside])
    assert np.abs(pasted[8:25, 16:33].astype(int) - photo[8:25, 16:33]).mean() > 1


def test_the_strip_shows_photo_reconstruction_and_restored(files, monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("inversion.photos.results.labelled_grid", lambda *grid: shown.append(grid) or grid[0][0, 0])
    restore(files, tmp_path, photos=files / "photos" / "small.png")
    [(tiles, _, labels)] = shown
    assert labels == ["photo", "reconstruction", "restored"]
    names = [files / "photos" / "small.png", *(tmp_path / label / "small.png" for label in labels[1:])]
    assert all(np.array_equal(tile, image(path)) for tile, path in zip(tiles[0], names, strict=True))


def test_restored_photos_keep_their_names_so_that_they_can_be_compared(files, tmp_path):
    """Codes are found in the results, in their folder, and where earlier programs have put them."""
    result = CliRunner().invoke(
        calc_metrics.main, ["pairs", *(str(files / "restored" / name) for name in ("restored", "reconstruction"))]
    )
    assert result.exit_code == 0 and "psnr" in result.output, result.output
    before = tmp_path / "sub" / "cat-codes.safetensors"
    before.parent.mkdir()
    before.touch()
    assert stored_codes(tmp_path, "sub/cat") == before and stored_codes(tmp_path, "sub/dog") is None
    for folder in (files / "restored", files / "restored" / "codes"):
        assert stored_codes(folder, "sub/turned") == files / "restored" / "codes" / "sub" / "turned.safetensors"
    result = restore(files, tmp_path / "out", photos=files / "photos" / "small.png", options=UNTUNED)
    assert result.stdout == f"1 restored; results in {tmp_path / 'out' / 'restored'}/\n"


# A command again


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.suffix in (".png", ".safetensors")}


def test_the_same_command_again_does_nothing(files, never_inverts):
    before = times(files / "restored")
    again = restore(files, files / "restored", "--paste-back")
    done(again, 0, 5)
    assert times(files / "restored") == before


def test_a_heic_photo_is_restored_as_its_pixels_are(files, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed (the extra heic)")
    noise = np.random.default_rng(1).integers(0, 256, (20, 16, 3), np.uint8)
    pillow_heif.from_pillow(PIL.Image.fromarray(noise)).save(tmp_path / "x.heic", quality=90)
    PIL.Image.fromarray(read_photo(tmp_path / "x.heic")).save(tmp_path / "y.png")
    flags = [f"--network={files / 'qc.safetensors'}", *UNTUNED, "-o", tmp_path / "out"]
    done(run("restore", "-i", tmp_path / "x.heic", "-i", tmp_path / "y.png", *flags), 2, 0)
    assert len({(tmp_path / "out" / "restored" / f"{name}.png").read_bytes() for name in "xy"}) == 1


def test_processes_find_what_one_finds(files, tmp_path):
    """They divide the photos, and all of their results are the same bits."""
    with warm_starts():
        done(restore(files, tmp_path / "two", "--paste-back", "--processes=2", "--batch=1"), 5, 0)
    done(restore(files, tmp_path / "one", "--paste-back", "--batch=1"), 5, 0)
    paths = [path for path in (tmp_path / "one").rglob("*.*") if path.suffix in (".png", ".safetensors")]
    assert len(paths) == 25
    for path in paths:
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path
    done(restore(files, tmp_path / "two", "--paste-back", "--batch=1"), 0, 5)


def test_other_settings_and_new_photos_are_done(files, photos, tmp_path):
    shutil.rmtree(photos / "sub")
    outdir = tmp_path / "out"
    done(restore(files, outdir, photos=photos, options=UNTUNED), 4, 0)
    before = times(outdir)
    scene(7, 19, 23).save(photos / "new.webp")
    done(restore(files, outdir, photos=photos, options=UNTUNED), 1, 4)
    assert (outdir / "restored/new.png").is_file()
    assert {path: time for path, time in times(outdir).items() if path in before} == before
    other = [option.replace("--projector-steps=3", "--projector-steps=2") for option in UNTUNED]
    done(restore(files, outdir, photos=photos, options=other), 5, 0)
    assert not any(times(outdir)[path] == time for path, time in before.items())


def test_a_bad_photo_is_passed_over(files, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"no photo")
    result = restore(files, tmp_path / "out", photos=photos, options=UNTUNED)
    assert result.exit_code == 1
    counts, bad = result.stdout.splitlines()
    assert counts_in(counts) == [5, 0, 1]
    assert bad.startswith(f"{photos / 'broken.jpg'} cannot be read: it is not an image of a known kind, or damaged; ")
    assert not list((tmp_path / "out").glob("broken*"))
    (photos / "broken.jpg").unlink()
    again = restore(files, tmp_path / "out", photos=photos, options=UNTUNED)
    done(again, 0, 5)


def test_without_tuning_no_difference_is_stored(files, tmp_path):
    restore(files, tmp_path, photos=files / "photos" / "small.png", options=UNTUNED)
    path = tmp_path / "codes/small.safetensors"
    assert set(load_tensors(path)) == {"ws", "q"}
    assert load_inversion(path, files / "qc.safetensors").tuned is None


def test_the_network_is_untouched(files):
    before = read_header(files / "restored" / "codes/small.safetensors")["network"]
    assert sha256(files / "qc.safetensors") == before


def test_an_encoder_needs_no_projector(files, tmp_path):
    options = ["--device=cpu", f"--encoder={files / 'encoders' / 'encoder.safetensors'}", "--tuning-steps=0"]
    done(restore(files, tmp_path, options=options), 5, 0)
    encoder = InversionOptions(encoder=str(files / "encoders" / "encoder.safetensors"), projector=None, tuning=None)
    inverter = Inverter(files / "qc.safetensors", CPU, encoder)
    target = PhotoReader(inverter.G).read(files / "photos" / "wide.JPG").target
    codes = load_inversion(tmp_path / "codes/wide.safetensors", files / "qc.safetensors").latents
    torch.testing.assert_close(codes.ws, inverter.encoder(target).ws)
    refined = [*options, "--set=projector.steps=2", "--set=projector.q_starts=2"]
    done(restore(files, tmp_path, options=refined), 5, 0)
    again = load_inversion(tmp_path / "codes/wide.safetensors", files / "qc.safetensors").latents
    assert not torch.allclose(again.ws, codes.ws)


# Faces


class Stub:
    """A detector that finds a face in all photos but those of one shape."""

    name = "cat"

    def __init__(self, without):
        self.without = without

    def __call__(self, photo):
        height, width = photo.shape[:2]
        return [] if (height, width) == self.without else [Face(width / 2 - 1, height / 2 + 2, 9.0)]


def test_a_photo_without_a_face_is_passed_over(files, tmp_path, monkeypatch):
    monkeypatch.setattr("inversion.photos.reader.find_detector", lambda name: Stub((33, 50)))
    result = restore(files, tmp_path, "--align=cat", "--paste-back", options=UNTUNED)
    assert result.exit_code == 1
    counts, bad = result.stdout.splitlines()
    assert counts_in(counts) == [4, 0, 1]
    assert bad.startswith(f"no face in {files / 'photos' / 'wide.JPG'} by the detector 'cat'; crop the photo and pass")
    inversion = load_inversion(tmp_path / "codes" / "sub" / "turned.safetensors", files / "qc.safetensors")
    square = AFHQ.square(Face(14, 22, 9.0))
    assert inversion.settings["square"] == [square.x, square.y, square.side, 0]
    photo = read_photo(files / "photos" / "sub" / "turned.jpg")
    restored = image(tmp_path / "restored" / "sub" / "turned.png")
    assert np.array_equal(image(tmp_path / "pasted" / "sub" / "turned.png"), paste_back(photo, restored, square))


class Pair(Stub):
    """A detector that finds a face at the left and a smaller one at the right, and the muzzle of the first."""

    def __call__(self, photo):
        return [Face(13.0, 16.0, 12.0), Face(36.0, 18.0, 9.0), Face(13.0, 18.0, 5.0)]


@pytest.fixture(name="two_faces")
def _two_faces(monkeypatch):
    monkeypatch.setattr("inversion.photos.reader.find_detector", lambda name: Pair(None))
    return [AFHQ.square(face) for face in Pair(None)(None)[:2]]


def test_all_faces_are_restored_and_pasted_back(files, tmp_path, two_faces):
    path = files / "photos" / "wide.JPG"
    done(restore(files, tmp_path, "--align=cat", "--paste-back", photos=path, options=UNTUNED), 1, 0)
    pasted = photo = read_photo(path)
    for name, square in zip(["wide-face2", "wide"], reversed(two_faces), strict=True):
        pasted = paste_back(pasted, image(tmp_path / f"restored/{name}.png"), square)
        codes = load_inversion(tmp_path / f"codes/{name}.safetensors", files / "qc.safetensors")
        assert codes.settings["square"] == [square.x, square.y, square.side, 0]
    assert np.array_equal(image(tmp_path / "pasted/wide.png"), pasted) and pasted.shape == photo.shape
    assert sorted(path.name for path in (tmp_path / "strips").iterdir()) == ["wide-face2.png", "wide.png"]
    done(restore(files, tmp_path, "--align=cat", "--paste-back", photos=path, options=UNTUNED), 0, 1)


def test_one_face_alone_is_that_of_all(files, tmp_path, two_faces):
    path = files / "photos" / "wide.JPG"
    for which in ("all", "largest"):
        flags = ["--align=cat", f"--faces={which}", "--batch=1"]
        done(restore(files, tmp_path / which, *flags, photos=path, options=UNTUNED), 1, 0)
    assert [path.name for path in (tmp_path / "largest/restored").iterdir()] == ["wide.png"]
    assert np.array_equal(*(image(tmp_path / which / "restored/wide.png") for which in ("all", "largest")))


def test_a_second_face_that_is_none_stays_as_it_is(files, tmp_path, two_faces, monkeypatch):
    """Here the first one is strange too, and is restored all the same, for that was asked for."""
    monkeypatch.setattr(Inverter, "is_strange", lambda *args: True)
    path = files / "photos" / "wide.JPG"
    result = restore(files, tmp_path, "--align=cat", "--paste-back", photos=path, options=UNTUNED)
    assert "wide.JPG, face 2: it stays as it is in the whole photo" in result.stderr
    expected = paste_back(read_photo(path), image(tmp_path / "restored/wide.png"), two_faces[0])
    assert np.array_equal(image(tmp_path / "pasted/wide.png"), expected)


def test_the_whole_photo_is_enlarged_around_the_result(files, tmp_path):
    path = files / "photos" / "wide.JPG"
    done(restore(files, tmp_path, "--upscale=2", photos=path, options=UNTUNED), 1, 0)
    pasted = image(tmp_path / "pasted/wide.png")
    large = np.array(PIL.Image.fromarray(read_photo(path)).resize((100, 66), PIL.Image.Resampling.LANCZOS))
    assert pasted.shape == (66, 100, 3)
    outside = np.ones((66, 100), bool)
    outside[:, 16:82] = False
    assert np.array_equal(pasted[outside], large[outside])
    restored = image(tmp_path / "restored/wide.png")
    assert np.array_equal(pasted, paste_back(large, restored, Square(49, 33, 66)))


@pytest.mark.parametrize(
    ("photo", "extra", "is_said"),
    [("wide.JPG", [], True), ("wide.JPG", ["--paste-back"], False), ("small.png", [], False)],
)
def test_what_is_cut_off_is_said_unless_the_whole_photo_is_written(files, tmp_path, caplog, photo, extra, is_said):
    done(restore(files, tmp_path, *extra, photos=files / "photos" / photo, options=UNTUNED), 1, 0)
    assert ("are cut to the square in their middle; --paste-back also writes" in caplog.text) == is_said


@pytest.mark.parametrize(
    ("align", "subject", "is_told"),
    [
        *[("human", "cat faces", True), ("cat", "human faces", True), ("yunet.onnx", "faces of cats", True)],
        *[("cat", "cat faces", False), ("human", "portraits", False), ("human", "cars", False), ("cat", None, False)],
    ],
)
def test_faces_that_the_network_does_not_know_are_told_of(align, subject, is_told, caplog):
    tell_of_subject(align, subject)
    assert ("the network knows" in caplog.text) == is_told


def test_aligned_and_not_are_different_settings(files, tmp_path, monkeypatch):
    monkeypatch.setattr("inversion.photos.reader.find_detector", lambda name: Stub(None))
    photo = files / "photos" / "wide.JPG"
    done(restore(files, tmp_path, photos=photo, options=UNTUNED), 1, 0)
    for aligned in ("--align=cat", "--no-align"):
        again = restore(files, tmp_path, aligned, photos=photo, options=UNTUNED)
        done(again, 1, 0)


# encode, and what takes its codes


def test_encode_works_for_a_plain_network(files, tmp_path):
    network = files / "plain.safetensors"
    result = run("encode", f"--network={network}", *TUNED, "-i", files / "photos", "-o", tmp_path)
    done(result, 5, 0)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert found == {*(f"codes/{name}.safetensors" for name in GOOD), "done-encode.jsonl"}
    inversion = load_inversion(tmp_path / "codes/small.safetensors", network)
    assert inversion.latents.q is None and inversion.tuned.differences and inversion.photo == "small.png"


def test_restore_takes_the_codes_of_encode(files, tmp_path, never_inverts):
    """Also where the command's own options would find others."""
    result = restore(files, tmp_path, f"--codes={files / 'restored'}", options=UNTUNED)
    done(result, 5, 0)
    for name, ending in itertools.product(GOOD, ("restored", "reconstruction", "strips")):
        paths = [folder / ending / f"{name}.png" for folder in (tmp_path, files / "restored")]
        assert np.array_equal(*map(image, paths))


@pytest.mark.parametrize("command", [["edit", "--direction=warmth.safetensors"], ["degrade", "--to=seed:5"]])
def test_codes_of_another_photo_are_refused(files, photos, tmp_path, monkeypatch, never_inverts, command):
    monkeypatch.chdir(files)
    scene(9, 16, 16).save(photos / "small.png")
    codes = files / "restored"
    network = files / "qc.safetensors"
    result = run(*command, f"--network={network}", f"--codes={codes}", *TUNED, "-i", photos, "-o", tmp_path / "out")
    assert result.exit_code == 1
    counts, bad = result.stdout.splitlines()
    assert counts_in(counts) == [4, 0, 1]
    assert bad == (
        f"{codes / 'codes' / 'small.safetensors'} is of another photo than {photos / 'small.png'}, or of another part "
        f"of it; leave out --codes={codes}, or align as when it was made"
    )


def test_photos_without_stored_codes_are_inverted(files, photos, tmp_path, monkeypatch):
    scene(9, 21, 22).save(photos / "new.png")
    seen, invert_ = [], Inverter.invert
    monkeypatch.setattr(Inverter, "invert", lambda self, x, *rest: seen.append(len(x)) or invert_(self, x, *rest))
    result = restore(files, tmp_path / "out", f"--codes={files / 'restored'}", photos=photos)
    done(result, 6, 0)
    assert seen == [1]


def test_codes_that_are_not_there(files, tmp_path):
    result = restore(files, tmp_path / "out", f"--codes={tmp_path / 'none'}")
    assert sentence(result) == f"folder of codes {tmp_path / 'none'} does not exist; check the path"


# edit


def test_edits_keep_quality_and_are_sharp(files, inverter, tmp_path, never_inverts):
    result = run(
        *["edit", f"--network={files / 'qc.safetensors'}", f"--direction={files / 'warmth.safetensors'}"],
        *["--strength=-1.5", "--strength=3", "--paste-back", f"--codes={files / 'restored'}", *TUNED],
        *["-i", files / "photos", "-o", tmp_path],
    )
    done(result, 5, 0)
    direction = load_direction(files / "warmth.safetensors", inverter.G)
    for name, photo in {"small": "small.png", "wide": "wide.JPG"}.items():
        inversion = stored(files, name)
        prepared = PhotoReader(inverter.G).read(files / "photos" / photo)
        for strength, text in ((-1.5, "-1.5"), (3, "+3")):
            with inverter.tuned(inversion) as G:
                kept, sharp = (from_network(x)[0] for x in edited_images(G, inversion.latents, direction, strength))
            assert np.array_equal(image(tmp_path / f"edited{text}/{name}.png"), kept)
            assert np.array_equal(image(tmp_path / f"edited{text}-sharp/{name}.png"), sharp)
            pasted = paste_back(prepared.photo, kept, prepared.square)
            assert np.array_equal(image(tmp_path / f"edited{text}-pasted/{name}.png"), pasted)
            assert not np.array_equal(kept, sharp)
            assert not np.array_equal(kept, image(files / "restored" / f"reconstruction/{name}.png"))
        again = load_inversion(tmp_path / f"codes/{name}.safetensors", inverter.network)
        assert torch.equal(again.latents.q, inversion.latents.q)


def test_an_edit_of_no_strength_is_the_restored_photo(files, tmp_path, never_inverts, one):
    codes = f"--codes={files / 'restored'}"
    run("edit", *one, *TUNED, codes, f"--direction={files / 'warmth.safetensors'}", "--strength=0", "-o", tmp_path)
    for ours, theirs in {"edited+0": "reconstruction", "edited+0-sharp": "restored"}.items():
        assert np.array_equal(image(tmp_path / ours / "wide.png"), image(files / "restored" / theirs / "wide.png"))


def test_a_direction_of_another_width_is_a_sentence(files, tmp_path, one):
    result = run("edit", *one, *UNTUNED, f"--direction={files / 'wide.safetensors'}", "-o", tmp_path / "out")
    assert sentence(result).startswith("direction wide has 20 numbers, and this network's w has 16; take one that")
    assert not (tmp_path / "out").exists()


# degrade


def degrade(files, outdir, *extra):
    return run(
        *["degrade", f"--network={files / 'qc.safetensors'}", f"--codes={files / 'restored'}", *TUNED],
        *["-i", files / "photos" / "small.png", "-o", outdir, *extra],
    )


def test_a_new_degradation_is_that_of_its_seed(files, inverter, tmp_path, never_inverts):
    result = degrade(files, tmp_path, "--to=seed:5", "--strength=0.5", "--paste-back")
    done(result, 1, 0)
    inversion = stored(files, "small")
    latents = scale_quality(sample_quality(inverter.G, inversion.latents, [5]), 0.5)
    [expected] = from_network(inverter.images(inversion, latents))
    assert np.array_equal(image(tmp_path / "degraded-seed5-x0.5-1/small.png"), expected)
    prepared = PhotoReader(inverter.G).read(files / "photos" / "small.png")
    pasted = paste_back(prepared.photo, expected, prepared.square)
    assert np.array_equal(image(tmp_path / "degraded-seed5-x0.5-1-pasted/small.png"), pasted)


def test_a_degradation_is_copied_from_a_photo(files, inverter, tmp_path):
    reference = files / "photos" / "wide.JPG"
    degrade(files, tmp_path, f"--to={reference}")
    q = inverter.codes(PhotoReader(inverter.G).read(reference).target).q
    inversion = stored(files, "small")
    [expected] = from_network(inverter.images(inversion, replace(inversion.latents, q=q)))
    assert np.array_equal(image(tmp_path / "degraded-wide-1/small.png"), expected)


def test_a_reference_photo_is_inverted_once_and_only_where_it_is_needed(files, tmp_path, monkeypatch):
    def counted(self, targets, *rest, **options):
        calls.append(len(targets))
        return codes(self, targets, *rest, **options)

    calls, codes = [], Inverter.codes
    monkeypatch.setattr(Inverter, "codes", counted)
    reference = f"--to={files / 'photos' / 'wide.JPG'}"
    result = degrade(files, tmp_path, reference, "--alpha=0.5", "--alpha=1")
    assert f"finding the degradation of {files / 'photos' / 'wide.JPG'}, which is inverted for that" in result.stderr
    degrade(files, tmp_path, reference, "--alpha=0.5", "--alpha=1")
    assert calls == [1]


def test_the_way_between_two_degradations_begins_at_the_photos_own(files, inverter, tmp_path, never_inverts):
    degrade(files, tmp_path, "--to=seed:5", "--alpha=0", "--alpha=0.25", "--alpha=1")
    degrade(files, tmp_path / "whole", "--to=seed:5")
    inversion = stored(files, "small")
    sampled = sample_quality(inverter.G, inversion.latents, [5])
    between = interpolate_quality(inversion.latents, inversion.latents, sampled, 0.25)
    expected = {
        "0": image(files / "restored" / "reconstruction/small.png"),
        "0.25": from_network(inverter.images(inversion, between))[0],
        "1": image(tmp_path / "whole" / "degraded-seed5-1/small.png"),
    }
    for alpha, pixels in expected.items():
        assert np.array_equal(image(tmp_path / f"degraded-seed5-{alpha}/small.png"), pixels)
    assert len({pixels.tobytes() for pixels in expected.values()}) == 3


def test_without_degradation_the_photo_is_restored(files, tmp_path, never_inverts):
    restored = image(files / "restored" / "restored/small.png")
    degrade(files, tmp_path / "sharp", "--to=sharp")
    assert np.array_equal(image(tmp_path / "sharp" / "degraded-sharp-1/small.png"), restored)
    degrade(files, tmp_path / "none", "--to=seed:5", "--strength=0")
    assert np.array_equal(image(tmp_path / "none" / "degraded-seed5-x0-1/small.png"), restored)


@pytest.mark.parametrize(
    ("start", "end", "strength", "name"),
    [
        ("own", "seed:5", 1.0, "degraded-seed5"),
        ("own", "sharp", 0.5, "degraded-sharp-x0.5"),
        ("seed:3", "{folder}/my noisy.jpg", 1.0, "degraded-seed3-to-my noisy"),
    ],
)
def test_folders_of_degraded_photos_say_what_they_were_given(tmp_path, start, end, strength, name):
    (tmp_path / "my noisy.jpg").touch()
    assert folder_name(start, end.format(folder=tmp_path), strength) == name


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("seed:x", "seed:x has no seed from 0 to 4294967295; write for example seed:5"),
        ("seed:", "seed: has no seed from 0 to 4294967295; write for example seed:5"),
        ("seed:4294967296", "seed:4294967296 has no seed from 0 to 4294967295; write for example seed:5"),
        ("none.jpg", "the degradation none.jpg is neither seed:NUMBER, sharp, own, nor a photo; check the path"),
    ],
)
def test_a_degradation_that_is_none(files, tmp_path, way, expected):
    assert sentence(degrade(files, tmp_path / "out", "--from=sharp", f"--to={way}")) == expected


# video


@pytest.fixture(scope="module", name="clips")
def _clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    make(folder / "sound.mp4", EVEN, "aac")
    make(folder / "silent.mp4", range(0, 240, 60))
    (folder / "text.mp4").write_text("no video")
    return folder


def video(files, source, output, *extra, network="qc", finds=None):
    finds = [f"--encoder={files / 'encoders' / 'encoder.safetensors'}"] if finds is None else finds
    network = files / f"{network}.safetensors"
    return run("video", f"--network={network}", *finds, "--device=cpu", "-i", source, "-o", output, *extra)


@pytest.fixture(name="written")
def _written(monkeypatch):
    """The frames that commands hand to the codec, which changes them a little."""
    frames, write = [], reader.write_clip

    def noted(path, given, like):
        frames[:] = given
        return write(path, frames, like)

    monkeypatch.setattr(reader, "write_clip", noted)
    return frames


def found_codes(output):
    """Return what the codes that lie beside a result mean: smoothed content, and the mean quality."""
    tensors = load_tensors(output.with_name(f"{output.stem}-codes.safetensors"))
    return Latents(smooth_rows(tensors["ws"], 1.5), q=tensors["q"].mean(0).expand(len(tensors["q"]), -1))


def close(frames, images):
    """Whether pixels are those of images `[N, C, R, R]`, but for rounding, which depends on the batch."""
    expected = from_network(images.clamp(-1, 1))
    return max(np.abs(a.pixels.astype(int) - b).max() for a, b in zip(frames, expected, strict=True)) <= 1


def test_a_clip_is_restored_with_its_times_and_its_sound(files, clips, inverter, tmp_path, written):
    output = tmp_path / "out.mp4"
    result = video(files, clips / "sound.mp4", output, "--no-paste-back")
    done(result, f"{output}: 10 frames")
    before, after = read_clip(clips / "sound.mp4"), read_clip(output)
    assert [frame.time for frame in after.frames()] == [frame.time for frame in before.frames()]
    assert (after.width, after.height, after.has_audio) == (16, 16, True)
    assert "the result is coarser than the photo" in result.stderr
    assert sound_packets(output) == sound_packets(clips / "sound.mp4")
    codes = found_codes(output)
    assert close(written, synthesize(inverter.G, codes.sharp()))
    assert not close(written, synthesize(inverter.G, codes))


def test_a_clip_is_edited_with_its_quality_kept(files, clips, inverter, tmp_path, written):
    output, direction = tmp_path / "out.mkv", files / "warmth.safetensors"
    extra = ["--no-paste-back", "--keep-quality", f"--direction={direction}", "--strength=-3"]
    done(video(files, clips / "sound.mp4", output, *extra), f"{output}: 10 frames")
    kept, sharp = edited_images(inverter.G, found_codes(output), load_direction(direction, inverter.G), -3)
    assert close(written, kept) and not close(written, sharp)


def test_a_restored_clip_keeps_its_frames_around_the_result(files, clips, inverter, tmp_path, written):
    output = tmp_path / "out.mp4"
    video(files, clips / "sound.mp4", output)
    images = from_network(synthesize(inverter.G, found_codes(output).sharp()).clamp(-1, 1))
    for frame, result, restored in zip(read_clip(clips / "sound.mp4").frames(), written, images, strict=True):
        expected = paste_back(frame.pixels, restored, centre_square(frame.pixels))
        assert np.abs(result.pixels.astype(int) - expected).max() <= 1
        assert np.array_equal(result.pixels[:, :8], frame.pixels[:, :8])


@pytest.mark.parametrize("finds", [None, ["--no-encoder", "--projector-steps=2", "--set=projector.q_starts=1"]])
def test_processes_write_the_video_of_one(files, clips, tmp_path, finds):
    """Where each frame is for itself, and where the search goes from frame to frame."""
    source = make(tmp_path / "long.mp4", range(0, 2400 if finds is None else 240, 60), "aac")
    extra = [f"--direction={files / 'warmth.safetensors'}"]
    video(files, source, tmp_path / "one.mp4", *extra, finds=finds)
    with warm_starts():
        result = video(files, source, tmp_path / "two.mp4", *extra, "--processes=2", finds=finds)
    done(result, f"{tmp_path / 'two.mp4'}: {40 if finds is None else 4} frames")
    for name in ("{}.mp4", "{}-codes.safetensors"):
        assert (tmp_path / name.format("two")).read_bytes() == (tmp_path / name.format("one")).read_bytes()
    assert len(list(tmp_path.iterdir())) == 5


def test_a_clip_without_sound_says_so(files, clips, tmp_path):
    output = tmp_path / "out.mp4"
    result = video(files, clips / "silent.mp4", output)
    done(result, f"{clips / 'silent.mp4'} has no sound, so the result has none\n{output}: 4 frames")
    assert not read_clip(output).has_audio


def test_a_stopped_clip_goes_on(files, clips, tmp_path, monkeypatch, written):
    finds = ["--projector-steps=4", "--set=projector.q_starts=2"]
    video(files, clips / "silent.mp4", tmp_path / "whole.mp4", finds=finds)
    expected, left, codes = [frame.pixels for frame in written], iter(range(2)), Inverter.codes

    def stopping(*args, **rest):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return codes(*args, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(Inverter, "codes", stopping)
        stopped = video(files, clips / "silent.mp4", tmp_path / "out.mp4", finds=finds)
    assert stopped.exit_code == 130 and "Stopped by SIGINT" in stopped.stderr
    assert not (tmp_path / "out.mp4").exists()
    left = iter(range(2))  # the other two frames
    with monkeypatch.context() as patch:
        patch.setattr(Inverter, "codes", stopping)
        assert video(files, clips / "silent.mp4", tmp_path / "out.mp4", finds=finds).exit_code == 0
    assert len(written) == 4 and all(np.array_equal(a.pixels, b) for a, b in zip(written, expected, strict=True))


@pytest.mark.parametrize(
    ("source", "output", "extra", "expected"),
    [
        ("text.mp4", "out.mp4", [], "text.mp4 is not a video, or it is damaged; give an mp4, mov, mkv or "),
        ("absent.mp4", "out.mp4", [], "video absent.mp4 does not exist; check the path"),
        ("silent.mp4", "silent.mp4", [], "--output=silent.mp4 is the clip itself; name the result otherwise"),
        ("silent.mp4", "./silent.mp4", [], "--output=./silent.mp4 is the clip itself; name the result otherwise"),
        ("silent.mp4", "out.avi", [], "the video out.avi does not end in .mp4, .m4v, .mov, .mkv; name it out.mp4"),
        ("silent.mp4", "no/out.mp4", [], "the folder of --output=no/out.mp4 is not there, or cannot be written to"),
        ("silent.mp4", "text.mp4/out.mp4", [], "the folder of --output=text.mp4/out.mp4 is not there, or cannot be"),
        ("silent.mp4", "out.mp4", ["--direction=none.safetensors"], "direction none.safetensors does not exist; "),
        ("silent.mp4", "out.mp4", ["--set=tuning.lr=1"], "--set tuning.lr=1 is no field of the inversion; write proj"),
    ],
)
def test_a_video_that_cannot_be(files, clips, tmp_path, monkeypatch, source, output, extra, expected):
    for name in ("text.mp4", "silent.mp4"):
        shutil.copy(clips / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert expected in sentence(video(files, source, output, *extra))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["silent.mp4", "text.mp4"]


def test_a_plain_network_shows_clips_as_they_are(files, clips, tmp_path):
    plain = {"network": "plain", "finds": ["--projector-steps=2"]}
    refused = video(files, clips / "silent.mp4", tmp_path / "out.mp4", **plain)
    assert "plain.safetensors is plain, without the quality code that this needs" in sentence(refused)
    assert video(files, clips / "silent.mp4", tmp_path / "out.mp4", "--keep-quality", **plain).exit_code == 0


# Wrong use


@pytest.mark.parametrize(
    ("command", "option", "expected"),
    [
        ("degrade", "--alpha=1.5", "'--alpha': 1.5 is not in the range 0<=x<=1"),
        ("degrade", "--alpha=nan", "'--alpha': nan is not finite"),
        ("degrade", "--strength=inf", "'--strength': inf is not finite"),
        ("edit", "--strength=nan", "'--strength': nan is not finite"),
        ("restore", "--projector-steps=-1", "'--projector-steps': -1 is not in the range x>=0"),
        ("restore", "--space=z", "'--space': 'z' is not one of"),
        ("restore", "--batch=0", "'--batch': 0 is not in the range x>=1"),
        ("restore", "--bogus", "No such option '--bogus'"),
        ("video", "--smooth=nan", "'--smooth': nan is not finite"),
        ("video", "--smooth=-1", "'--smooth': -1.0 is not in the range x>=0"),
        ("video", "--tuning-steps=3", "No such option '--tuning-steps'"),
    ],
)
def test_usage_errors(files, tmp_path, one, command, option, expected):
    result = run(command, *one, "-o", tmp_path / "out", option)
    assert result.exit_code == 2 and expected in result.stderr, result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["restore", "encode", "edit", "degrade", "video"])
def test_what_is_required(command):
    result = run(command)
    assert result.exit_code == 2 and "Missing option" in result.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set=projector.lr=-1"], "projector.lr is -1.0, must be above 0"),
        (["--set=projector.lrr=1"], "unknown field 'lrr'; did you mean 'lr'?"),
        (["--set=projector.lr=fast"], "lr is 'fast', must be of type float"),
        (["--set=tuning.blocks=0"], "tuning.blocks is 0, must be at least 1, or null for all"),
        (["--set=projector.lr"], "--set projector.lr has no value; write --set field=value"),
        (["--set=lr=1"], "--set lr=1 is no field of the inversion; write projector.FIELD or tuning.FIELD"),
        (["--set=tuning=null"], "--set tuning=null is no field of the inversion; write projector.FIELD or tun"),
        (
            ["--tuning-steps=0", "--stop-psnr=35"],
            "tuning.stop_psnr has no effect without steps; leave it out, or give --tuning-steps above 0",
        ),
        (
            ["--encoder=encoders/encoder.safetensors", "--space=w"],
            "projector.space has no effect without steps; leave it out, or give --projector-steps above 0",
        ),
        (
            ["--projector-steps=0", "--tuning-steps=0"],
            "without an encoder the projector must search; give --encoder=FILE or --projector-steps above 0",
        ),
        (["--set=quality.steps=3"], "--set quality.steps=3 has no effect: q is searched for by itself only after an "),
        (
            ["--encoder=encoders/encoder.safetensors", "--set=quality.lr=1"],
            "--set quality.lr=1 has no effect: q is searched for by itself only after an encoder that tells none, ",
        ),
        (
            ["--set=projector.features_lr=0.1"],
            "--set projector.features_lr=0.1 has no effect, as there are no features to start at; leave it out, or ",
        ),
        (["--stop-psnr=nan"], "stop_psnr is nan, must be a finite number"),
        (["--perceptual=lpips_vg"], "unknown perceptual distance 'lpips_vg'; did you mean 'lpips_vgg'?"),
        (["--perceptual=lpips_vgg", "--weights-dir=nowhere"], "vgg16"),
        (["--align=dog"], "unknown face detector 'dog'; "),
        (["--align=absent.onnx"], "face detector absent.onnx does not exist; check the path"),
        (["--network=plain.safetensors"], "plain.safetensors is plain, without the quality code that this needs; "),
        (["--network=classes.safetensors"], "classes.safetensors has classes, and photos are inverted into networks"),
        (["--network=absent.safetensors"], "network absent.safetensors does not exist; check the path"),
        (["--network=encoders/encoder.safetensors"], "encoder.safetensors is an encoder, not a network; "),
        (
            ["--encoder=encoders/encoder.safetensors", "--network=other.safetensors"],
            "encoder.safetensors was trained for another network than other.safetensors; ",
        ),
        (["-i", "absent.jpg"], "photo absent.jpg does not exist; check the path"),
        (["-i", "empty"], "no photos in empty; it needs files that end in "),
        (["-o", "photos/wide.JPG"], "cannot write to photos/wide.JPG: File exists; choose another --outdir"),
        (["-o", "photos"], "the output folder photos is that of the photos; choose another --outdir"),
    ],
)
def test_a_wrong_value_is_one_sentence(files, tmp_path, monkeypatch, one, options, expected):
    monkeypatch.chdir(files)
    result = run("restore", *one, "--device=cpu", "-o", tmp_path / "out", *options)
    assert expected in sentence(result)
    assert not (tmp_path / "out").exists()


COMMANDS = [(name, command) for name, command in invert.main.commands.items()]


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_option_is_documented(name, command):
    result = run(name, "--help")
    assert result.exit_code == 0 and command.help.splitlines()[0].split(":")[0] in " ".join(result.stdout.split())
    for parameter in command.params:
        if isinstance(parameter, click.Argument):  # photos, which stand without a flag
            assert parameter.make_metavar(click.Context(command)) in result.stdout, parameter.name
        else:
            assert parameter.help and parameter.opts[0] in result.stdout, parameter.name
    assert command.name in run("--help").stdout


def test_options_speak_for_themselves():
    """No two options of a command share a name, and what is required says what it takes."""
    for _, command in COMMANDS:
        flags = [flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)]
        assert len(flags) == len(set(flags))


def test_the_encoder_beside_the_network_is_used(files, tmp_path):
    """Of several the longest trained; another network's is passed over, and --no-encoder leaves all alone."""
    folder = tmp_path / "networks"
    folder.mkdir()
    network = shutil.copy(files / "qc.safetensors", folder)
    shutil.copy(files / "other.safetensors", folder)
    G, _ = load_generator(network)
    for name, kimg in [("a", 2), ("b", 9), ("c", 1)]:
        write_encoder(folder / f"{name}.safetensors", G, network, kimg=kimg)
    save_encoder(folder / "d.safetensors", build_encoder(TINY, G), G, "0" * 64, {"kimg": 99})
    assert find_encoder(network) == folder / "b.safetensors"
    assert find_encoder(folder / "other.safetensors") is None
    command = [
        "encode",
        f"--network={network}",
        "--device=cpu",
        "--tuning-steps=0",
        "-i",
        files / "photos" / "wide.JPG",
    ]
    result = run(*command, "-o", tmp_path / "codes")
    assert result.exit_code == 0 and "No encoder" not in result.output
    found = load_inversion(tmp_path / "codes" / "codes/wide.safetensors", network).latents
    target = PhotoReader(G).read(files / "photos" / "wide.JPG").target
    assert_close(found.ws, load_encoder(folder / "b.safetensors", network, G)(target).ws)
    result = run(*command, "--no-encoder", "--projector-steps=2", "-o", tmp_path / "searched")
    assert result.exit_code == 0 and "No encoder" not in result.output


def test_without_an_encoder_a_line_says_what_that_means(files, tmp_path, caplog):
    network = shutil.copy(files / "other.safetensors", tmp_path)
    command = ["encode", f"--network={network}", *UNTUNED, "-i", files / "photos" / "small.png"]
    for outdir in ("first", "second"):
        assert run(*command, "-o", tmp_path / outdir).exit_code == 0
    assert [message.split(":")[0] for message in caplog.messages] == [f"{network} is used without an encoder"]
    assert f"invert.py train-encoder --network={network} --data=PHOTOS trains one" in caplog.text


def test_an_encoder_and_none_contradict_each_other(files, tmp_path):
    options = [f"--network={files / 'qc.safetensors'}", f"--encoder={files / 'encoders' / 'encoder.safetensors'}"]
    result = run("restore", *options, "--no-encoder", "-i", files / "photos", "-o", tmp_path / "out")
    assert "--encoder and --no-encoder contradict each other" in sentence(result)


def test_fidelity_mixes_the_photo_into_the_restored_one(files, tmp_path):
    """Its ends are the photo itself and the network's image, and the codes are the same throughout."""
    reader, photo = PhotoReader(load_generator(files / "qc.safetensors")[0]), files / "photos" / "wide.JPG"
    images = {}
    for name, flags in {"photo": ["--fidelity=1"], "default": [], "half": ["--fidelity=0.5"]}.items():
        result = run(
            *["restore", f"--network={files / 'qc.safetensors'}", *TUNED, *flags, "-i", photo, "-o", tmp_path / name]
        )
        assert result.exit_code == 0, result.output
        images[name] = image(tmp_path / name / "restored/wide.png").astype(float)
    sharp, own = image(files / "restored" / "restored/wide.png").astype(float), reader.read(photo).image.astype(float)
    assert np.array_equal(images["photo"], own)
    assert np.array_equal(images["default"], images["half"])
    assert not np.array_equal(images["half"], own) and not np.array_equal(images["half"], sharp)
    assert np.abs(images["half"] - own).mean() < np.abs(sharp - own).mean()
    result = run("restore", f"--network={files / 'qc.safetensors'}", "--fidelity=2", "-i", photo, "-o", tmp_path / "no")
    assert "--fidelity is 2.0, must be from 0" in sentence(result)


def test_the_published_tuning_is_a_setting(files, tmp_path):
    """Flags and --set change it as they change the default."""
    command = ["encode", f"--network={files / 'qc.safetensors'}", *QUICK, "-i", files / "photos" / "small.png"]
    changes = ["--tuning-steps=2", "--set=tuning.locality_distance=1"]
    assert run(*command, "--tuning=paper", *changes, "-o", tmp_path).exit_code == 0
    expected = replace(TUNINGS["paper"], steps=2, locality_distance=1.0)
    assert stored_settings(tmp_path / "codes/small.safetensors", files)["tuning"] == asdict(expected)


def stored_settings(path, files):
    return load_inversion(path, files / "qc.safetensors").settings


def test_strange_and_coarse_photos_are_said(files, tmp_path):
    """A photo unlike the encoder's is named with the network's subject, and one that is larger than the network's."""
    folder = tmp_path / "networks"
    folder.mkdir()
    network = write_network(folder / "qc.safetensors", quality_generator(), subject="cat faces")
    G, _ = load_generator(network)
    command = [
        "restore",
        f"--network={network}",
        "--device=cpu",
        "--tuning-steps=0",
        "-i",
        files / "photos" / "wide.JPG",
    ]
    for name, bound in (("strange", 1e-9), ("usual", 1e9)):
        facts = {"reconstruction": {"p50": bound / 2, "p99": bound}}
        save_encoder(folder / "encoder.safetensors", build_encoder(TINY, G).eval(), G, sha256(network), facts)
        said = run(*command, "-o", tmp_path / name).stderr
        assert ("wide.JPG: this does not look like cat faces" in said) == (name == "strange")
        assert "wide.JPG: the part that is used has " in said and "and the network makes 16; the result is" in said


@pytest.mark.parametrize(
    ("tuning", "overrides", "steps"),
    [
        ({}, [], None),
        ({"tuning_steps": 1}, [], 1),
        ({"stop_psnr": 60}, [], 100),
        ({"tuning": "paper"}, [], 500),
        ({}, ["tuning.steps=2"], 2),
    ],
)
def test_restoring_tunes_after_an_encoder_only_where_it_is_asked_to(files, tuning, overrides, steps):
    """Other commands always do, as what they show is the network's image alone."""
    found = []
    for encoder, tunes in ((files / "encoders" / "encoder.safetensors", False), (None, False), (None, True)):
        flags = InverterFlags(
            str(files / "qc.safetensors"), encoder and str(encoder), encoder is None, overrides=overrides, device="cpu"
        )
        options = make_inverter(flags, TuningFlags(**tuning), needs_quality=True, tunes_after_encoder=tunes).options
        found.append(options.tuning and options.tuning.steps)
    assert found == [steps, steps or 100, steps or 100]
