"""The commands of invert.py on several photos at once: mix, interpolate, pair-direction, and edits of all codes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

import calc_metrics
import invert
import qc_stylegan
from dnnlib.files import sha256
from evaluation.tables.editability import edited_at
from generation.quality_codes import MAX_SEED
from generation.rendering import synthesize
from images.photos import from_network
from images.video.writer import count_frames, write_mp4
from inversion.directions.direction import load_direction
from inversion.directions.editing import edit
from inversion.encoders.config import FeatureHeadConfig, PaddingHeadConfig
from inversion.encoders.files import save_encoder
from inversion.inverter import InversionOptions, Inverter
from inversion.mixing import between, mean_codes, mix
from inversion.photos.encoded import names_of
from inversion.photos.face_detectors import Face
from inversion.photos.reader import PhotoReader
from inversion.projector import ProjectorOptions
from inversion.quality.requality import sample_quality
from inversion.tuned_weights import Inversion
from inversion.video.rendering import render_codes
from networks.files import load
from networks.latents import Latents
from tests.support.encoders import TINY, write_encoder
from tests.support.networks import quality_generator, small_generator, write_network
from tests.support.runs import png
from tests.support.tolerance import assert_close

CPU = torch.device("cpu")
KINDS = ("psp", "padding", "feature-style")


def run(*arguments):
    return CliRunner().invoke(invert.main, [str(argument) for argument in arguments], catch_exceptions=False)


def done(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def sentence(*arguments):
    """Return the one sentence that a failed command says."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr.removeprefix("Error: ").rstrip("\n")


def image(path):
    return np.array(PIL.Image.open(path))


def encoder_config(kind):
    return replace(TINY, kind=kind, padding=PaddingHeadConfig(layers=2), features=FeatureHeadConfig(layer=3))


def stirred(path, G, network, kind):
    """Write an encoder of a kind whose fresh heads say something of the photo, in numbers as usual as those of w."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        encoder = write_encoder(path, G, network, encoder_config(kind))
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    save_encoder(path, encoder, G, sha256(network), {"kimg": 0})


@pytest.fixture(scope="module", name="files")
def _files(tmp_path_factory):
    """A network of 32x32, an encoder of each kind, a plain network, and photos."""
    folder = tmp_path_factory.mktemp("pairs")
    G = quality_generator(resolution=32)
    network = write_network(folder / "qc.safetensors", G, licence="CC0")
    write_network(folder / "plain.safetensors", small_generator(32))
    write_network(folder / "other.safetensors", quality_generator(resolution=32, noise=0.1))
    (folder / "encoders").mkdir()
    for kind in KINDS:
        stirred(folder / "encoders" / f"{kind}.safetensors", G, network, kind)
    for side, seeds in {"before": (1, 2), "after": (3, 4)}.items():
        (folder / side).mkdir()
        for name, seed in zip(("a", "b"), seeds, strict=True):
            (folder / side / f"{name}.png").write_bytes(png(seed))
    return folder


def options(files, kind, network="qc"):
    encoder = [f"--encoder={files / 'encoders' / kind}.safetensors"] if kind else ["--set=projector.steps=2"]
    return [f"--network={files / network}.safetensors", "--device=cpu", *encoder]


def inverter_of(files, kind):
    encoder = str(files / "encoders" / f"{kind}.safetensors")
    return Inverter(files / "qc.safetensors", CPU, InversionOptions(encoder, projector=None, tuning=None))


def codes_of(files, inverter, name):
    return inverter.codes(PhotoReader(inverter.G).read(files / f"{name}.png").target)


def shown(inverter, codes):
    return from_network(synthesize(inverter.G, codes))[0]


# mix


@pytest.mark.parametrize("kind", KINDS)
def test_mixing_shows_every_content_in_every_style(files, tmp_path, kind, monkeypatch):
    grids = []
    monkeypatch.setattr("inversion.photos.mixed.labelled_grid", lambda *grid: grids.append(grid) or grid[0][0, 0])
    command = ["mix", f"--style={files / 'before'}", f"--content={files / 'after'}", *options(files, kind)]
    assert done(*command, "-o", tmp_path / "out").startswith("4 mixed, all in ")
    inverter = inverter_of(files, kind)
    first = 4 if kind == "psp" else 0
    for content in "ab":
        for style in "ab":
            codes = (codes_of(files, inverter, name) for name in (f"before/{style}", f"after/{content}"))
            expected = shown(inverter, mix(*codes, range(first, 8)).sharp())
            assert np.array_equal(image(tmp_path / "out" / f"{content}+{style}.png"), expected)
    [(tiles, *names)] = grids
    assert names == [["", "a", "b"]] * 2 and tiles.shape == (3, 3, 32, 32, 3)
    assert np.array_equal(tiles[1, 2], image(tmp_path / "out" / "a+b.png"))
    assert np.array_equal(tiles[0, 1], PhotoReader(inverter.G).read(files / "before" / "a.png").image)
    assert np.array_equal(tiles[2, 0], PhotoReader(inverter.G).read(files / "after" / "b.png").image)
    assert (tmp_path / "out" / "sheet.png").is_file()


def test_layers_and_quality_are_chosen(files, tmp_path):
    photos = [f"--style={files / 'before' / 'a.png'}", f"--content={files / 'after' / 'b.png'}"]
    flags = ["--layers=2-3", "--quality=own", "-o", tmp_path / "out"]
    done("mix", *photos, *options(files, "padding"), *flags)
    inverter = inverter_of(files, "padding")
    style, content = (codes_of(files, inverter, name) for name in ("before/a", "after/b"))
    expected = shown(inverter, mix(style, content, (2, 3)))
    assert content.q.any() and np.array_equal(image(tmp_path / "out" / "b+a.png"), expected)


def test_mixed_images_do_not_become_photos(files, tmp_path):
    photos = shutil.copytree(files / "before", tmp_path / "photos")
    command = ["mix", f"--style={photos}", f"--content={photos}", *options(files, "psp"), "-o", photos / "mixed"]
    assert done(*command).startswith("4 mixed") and done(*command).startswith("4 mixed")
    assert sentence(*command[:-1], photos) == (
        f"the output folder {photos} is that of the photos; choose another --outdir"
    )


def test_names_of_photos_are_unlike():
    files = [Path(name) for name in ("x/a.png", "x/a.jpg", "b.png", "x/y/a.png")]
    assert names_of(files) == ["a-png", "a-jpg", "b", "a-png-2"]


# interpolate


@pytest.mark.parametrize(
    ("kind", "part"), [("psp", "style"), ("psp", "space"), ("padding", "space"), ("feature-style", "both")]
)
def test_strips_go_from_one_photo_to_the_other(files, tmp_path, kind, part, monkeypatch):
    photos = [files / "before" / "a.png", files / "after" / "b.png"]
    command = ["interpolate", *photos, f"--part={part}", "--count=3", *options(files, kind), "-o", tmp_path / "a.png"]
    if (kind, part) == ("psp", "space"):
        assert sentence(*command).startswith("these codes have neither paddings nor features, so that only their style")
        return
    grids = []
    monkeypatch.setattr("images.figures.labelled_grid", lambda *x: grids.append(x) or x[0][0, 0])
    assert done(*command) == f"{tmp_path / 'a.png'}: 3 images\n"
    inverter = inverter_of(files, kind)
    start, end = (codes_of(files, inverter, name).sharp() for name in ("before/a", "after/b"))
    [(tiles, _, labels)] = grids
    assert labels == ["a", "0 %", "50 %", "100 %", "b"]
    for share, tile in zip((0, 0.5, 1), tiles[0, 1:4], strict=True):
        assert np.array_equal(tile, shown(inverter, between(inverter.G, start, end, part, share)))


def test_a_video_from_the_mean_image(files, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("inversion.photos.mixed.from_network", lambda x: seen.append(from_network(x)) or seen[-1])
    photo = files / "before" / "a.png"
    flags = ["--from=mean", "--part=padding", "--count=4", "--fps=10", "-o", tmp_path / "a.mp4"]
    done("interpolate", photo, *options(files, "padding"), *flags)
    assert count_frames(tmp_path / "a.mp4") == 4
    inverter = inverter_of(files, "padding")
    codes = codes_of(files, inverter, "before/a")
    expected = Latents(mean_codes(inverter.G).ws, padding=codes.padding)
    assert np.array_equal(seen[-1][0], shown(inverter, expected))
    assert np.abs(seen[0][0].astype(int) - shown(inverter, mean_codes(inverter.G))).max() <= 1


# pair-direction and edit


@pytest.mark.parametrize("space", ["padding", "ws"])
def test_a_direction_from_pairs_is_the_mean_change(files, tmp_path, space):
    path, pairs = tmp_path / "glasses.safetensors", [("before/a", "after/a"), ("before/b", "after/b")]
    flags = [f"--space={space}", *options(files, "padding"), "-o", path]
    said = done("pair-direction", files / "before", files / "after", *flags)
    assert said == f"{path}: a direction in {space} from 2 pairs\n"
    inverter = inverter_of(files, "padding")
    codes = [[codes_of(files, inverter, name) for name in pair] for pair in pairs]
    direction = load_direction(path, inverter.G)
    assert (direction.name, direction.method, direction.details) == ("glasses", "pair", {"pairs": 2, "licence": "CC0"})
    moved = edit(inverter.G, codes[0][0], direction, 1.0).tensors()
    for name, value in codes[0][0].tensors().items():
        changes = [after.tensors()[name] - before.tensors()[name] for before, after in codes]
        moves = name == "ws" if space == "ws" else name.startswith("padding.")
        assert_close(moved[name], value + (changes[0] + changes[1]) / 2 if moves else value, rtol=1e-4)
    one, repeated = tmp_path / "one.safetensors", [files / f"{name}.png" for pair in pairs for name in pair]
    done("pair-direction", *repeated, f"--space={space}", *options(files, "padding"), "-o", one)
    again = load_direction(one, inverter.G)
    for name, step in direction.steps(inverter.G).items():
        assert torch.equal(again.steps(inverter.G)[name], step)


@pytest.mark.parametrize("kind", ["padding", "feature-style"])
def test_all_kinds_of_codes_are_edited_along_sefa(files, tmp_path, kind):
    network = f"--network={files / 'qc.safetensors'}"
    done("directions", network, "--method=sefa", "-k", 1, "--samples=20", "--device=cpu", "-o", tmp_path / "sefa")
    direction = tmp_path / "sefa" / "sefa-0.safetensors"
    flags = ["--tuning-steps=0", f"--direction={direction}", "--strength=2", "-i", files / "before", "-o", tmp_path]
    assert done("edit", *options(files, kind), *flags) == f"2 edited; results in {tmp_path}/\n"
    inverter = inverter_of(files, kind)
    codes = edit(inverter.G, codes_of(files, inverter, "before/a"), load_direction(direction, inverter.G), 2.0)
    expected = {"edited+2/a.png": codes, "edited+2-sharp/a.png": codes.sharp()}
    for name, latents in expected.items():
        assert np.abs(image(tmp_path / name).astype(int) - shown(inverter, latents)).max() <= 1
    again = [f"--codes={tmp_path}", *flags[:-1], tmp_path / "again"]
    done("edit", *options(files, kind), *again)
    assert np.array_equal(image(tmp_path / "again" / "edited+2/a.png"), image(tmp_path / "edited+2/a.png"))


def test_only_features_yield(files, tmp_path):
    """As published with `--yielding=0`; a sentence where there are none."""
    network = f"--network={files / 'qc.safetensors'}"
    done("directions", network, "--method=sefa", "-k", 1, "--samples=20", "--device=cpu", "-o", tmp_path / "sefa")
    direction = f"--direction={tmp_path / 'sefa' / 'sefa-0.safetensors'}"
    flags = ["--tuning-steps=0", direction, "-i", files / "before" / "a.png", "--yielding=0", "-o", tmp_path / "out"]
    assert sentence("edit", *options(files, "psp"), *flags).startswith("--yielding=0 has no effect, as there are no fe")
    done("edit", *options(files, "feature-style"), *flags)
    inverter = inverter_of(files, "feature-style")
    before, way = (
        codes_of(files, inverter, "before/a"),
        load_direction(tmp_path / "sefa/sefa-0.safetensors", inverter.G),
    )
    published = shown(inverter, edit(inverter.G, before, way, 2.0, yielding=0))
    assert np.abs(image(tmp_path / "out" / "edited+2/a.png").astype(int) - published).max() <= 1

    # The same images in clips, in tables and from Python, and others by default.
    [frame] = render_codes(inverter, before, [range(1)], way, 2.0, yielding=0)
    assert np.abs(frame[0].astype(int) - published).max() <= 1
    kept, _ = edited_at(inverter, Inversion(before), way, [2.0], yielding=0)
    assert np.abs(from_network(kept)[0].astype(int) - published).max() <= 1
    encoder = files / "encoders" / "feature-style.safetensors"
    net = qc_stylegan.load(files / "qc.safetensors", encoder=encoder, device="cpu", tuning_steps=0)
    edited = np.array(net.edit(str(files / "before" / "a.png"), way, 2.0, yielding=0))
    assert np.abs(edited.astype(int) - published).max() <= 1
    [by_default] = render_codes(inverter, before, [range(1)], way, 2.0)
    assert np.abs(by_default[0].astype(int) - published).max() > 1


def test_stored_codes_without_features_do_not_yield(files, tmp_path):
    direction = tmp_path / "sefa" / "sefa-0.safetensors"
    network = f"--network={files / 'qc.safetensors'}"
    done("directions", network, "--method=sefa", "-k", 1, "--samples=20", "--device=cpu", "-o", direction.parent)
    done("encode", *options(files, "psp"), "-i", files / "before" / "a.png", "-o", tmp_path / "codes")
    flags = ["-i", files / "before" / "a.png", "--tuning-steps=0", f"--direction={direction}", "--yielding=0"]
    result = run("edit", *options(files, "psp"), *flags, f"--codes={tmp_path / 'codes'}", "-o", tmp_path / "out")
    assert result.exit_code == 1 and "--yielding=0 has no effect, as there are no features to yield" in result.output


def test_without_features_nothing_yields_anywhere(files, tmp_path):
    flags = [*options(files, "psp"), "--yielding=1"]
    says = "--yielding=1 has no effect, as there are no features to yield; leave it out, or give an encoder of kind fea"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(png(1, side=32))
    table = [*flags, f"--data={tmp_path / 'photos'}", "--tuning-steps=0"]
    for command in (["stability"], ["editability", "--scorer=warmth"]):
        result = CliRunner().invoke(calc_metrics.main, [*command, *table])
        assert result.exit_code == 1 and says in result.output
    clip = tmp_path / "clip.mp4"
    write_mp4(clip, iter([np.zeros([16, 16, 3], np.uint8)] * 2), 5.0)
    video = ["video", "-i", clip, "-o", tmp_path / "out.mp4", *flags]
    assert sentence(*video) == "--yielding has no effect without --direction; add it, or leave it out"
    assert sentence(*video, f"--direction={clip}").startswith(says)


def test_paddings_are_edited_where_there_are_some(files, tmp_path):
    glasses = tmp_path / "glasses.safetensors"
    flags = ["--space=padding", *options(files, "padding"), "-o", glasses]
    done("pair-direction", files / "before" / "a.png", files / "after" / "a.png", *flags)
    flags = ["--tuning-steps=0", f"--direction={glasses}", "-i", files / "before" / "a.png"]
    done("edit", *options(files, "padding"), *flags, "-o", tmp_path / "out")
    refused = (
        "direction glasses moves paddings, and these codes have none; give an encoder of kind padding, or a direction "
        "in w"
    )
    assert sentence("edit", *options(files, "psp"), *flags, "-o", tmp_path / "none") == refused
    assert not (tmp_path / "none").exists()
    done("encode", *options(files, "psp"), "--tuning-steps=0", "-i", files / "before" / "a.png", "-o", tmp_path)
    result = run("edit", *options(files, "psp"), *flags, f"--codes={tmp_path}", "-o", tmp_path / "none")
    assert result.exit_code == 1 and result.stdout.splitlines()[1] == f"a.png: {refused}"


def test_codes_of_an_earlier_command_are_taken(files, tmp_path, monkeypatch):
    flags = ["--tuning-steps=0", "-i", files / "before", "-o", tmp_path / "codes"]
    done("encode", *options(files, "feature-style"), *flags)
    monkeypatch.setattr(Inverter, "codes", None)
    photos = [files / "before" / f"{name}.png" for name in "ab"]
    command = ["interpolate", *photos, f"--codes={tmp_path / 'codes'}", "--part=space", "-o", tmp_path / "a.png"]
    done(*command, *options(files, "feature-style"))
    said = sentence(*command, *options(files, None, "other"))
    assert said.startswith(f"{tmp_path / 'codes' / 'codes' / 'a.safetensors'} was made with another network than ")
    other = [files / "after" / "a.png", photos[1], *command[3:]]
    assert " is of another photo than " in sentence("interpolate", *other, *options(files, "feature-style"))


REFUSALS = {
    "two photos must be given, not 1; correct that": ["interpolate", "before/a.png", "-o", "x.png"],
    "one photo with --from=mean must be given, not 2": [
        *("interpolate", "before/a.png", "after/a.png", "--from=mean", "-o", "x.png"),
    ],
    "--output=x.gif ends neither in .png nor in .mp4; name it x.png": [
        *("interpolate", "before/a.png", "after/a.png", "-o", "x.gif"),
    ],
    "--fps=5 belongs to a video; name the result x.mp4": [
        *("interpolate", "before/a.png", "after/a.png", "--fps=5", "-o", "x.png"),
    ],
    "--output=before/a.png is one of the photos; name the result otherwise": [
        *("interpolate", "before/a.png", "after/a.png", "-o", "before/a.png"),
    ],
    "the folder of --output=none/x.png is not there, or cannot be written to": [
        *("interpolate", "before/a.png", "after/a.png", "-o", "none/x.png"),
    ],
    "photo before/none.png does not exist; check the path": [
        "interpolate",
        "before/none.png",
        "after/a.png",
        "-o",
        "x.png",
    ],
    "folder of codes none does not exist": [
        "interpolate",
        "before/a.png",
        "after/a.png",
        "--codes=none",
        "-o",
        "x.png",
    ],
    "--quality=own has no effect, as plain.safetensors is plain; leave it out": [
        *("mix", "--style=before", "--content=after", "--network=plain.safetensors", "--quality=own", "-o", "x"),
    ],
    "--layers=7-8 names 8, must be from 0 to 7, or all": [
        *("mix", "--style=before", "--content=after", "--layers=7-8", "-o", "x"),
    ],
    "photo none does not exist": ["mix", "--style=none", "--content=after", "-o", "x"],
    "--output=x.png does not end in .safetensors; name it x.safetensors": [
        *("pair-direction", "before", "after", "--space=ws", "-o", "x.png"),
    ],
    "3 photos cannot be divided into pairs; give one before and one after each change": [
        *("pair-direction", *["before/a.png"] * 3, "--space=ws", "-o", "x.safetensors"),
    ],
    "folders come in two, one of photos before and one after; give those alone": [
        *("pair-direction", "before", "after/a.png", "--space=ws", "-o", "x.safetensors"),
    ],
    "a of before has no partner in odd; give folders with the same names": [
        *("pair-direction", "before", "odd", "--space=ws", "-o", "x.safetensors"),
    ],
    "the photos before and after have the same w; give others": [
        *("pair-direction", "before/a.png", "before/a.png", "--space=ws", "-o", "x.safetensors"),
    ],
    "these codes have no paddings for a direction; give an encoder of kind padding": [
        *("pair-direction", "before/a.png", "after/a.png", "--space=padding", "-o", "x.safetensors"),
    ],
}


@pytest.mark.parametrize("start", REFUSALS)
def test_refusals(files, monkeypatch, tmp_path, start):
    folder = shutil.copytree(files, tmp_path / "files")
    (folder / "odd").mkdir()
    shutil.copy(folder / "before" / "b.png", folder / "odd")
    monkeypatch.chdir(folder)
    command = REFUSALS[start]
    network = [] if "--network=plain.safetensors" in command else ["--network=qc.safetensors"]
    encoder = (
        ["--set=projector.steps=1"]
        if "--network=plain.safetensors" in command
        else ["--encoder=encoders/psp.safetensors"]
    )
    assert sentence(*command, *network, *encoder, "--device=cpu").startswith(start)
    assert not list(folder.glob("x*"))


def test_the_same_photos_have_no_direction_among_paddings(files, tmp_path):
    photos = [files / "before" / "a.png"] * 2
    flags = ["--space=padding", *options(files, "padding"), "-o", tmp_path / "x.safetensors"]
    assert (
        sentence("pair-direction", *photos, *flags) == "the photos before and after have the same paddings; give others"
    )


def test_features_differ_between_encoders_of_another_layer(files, tmp_path):
    G = load(files / "qc.safetensors", CPU)
    second = replace(encoder_config("feature-style"), features=FeatureHeadConfig(layer=2))
    write_encoder(tmp_path / "second.safetensors", G, files / "qc.safetensors", second)
    flags = ["--tuning-steps=0", "-i", files / "before" / "a.png", "-o", tmp_path / "codes"]
    done("encode", *options(files, "feature-style")[:2], f"--encoder={tmp_path / 'second.safetensors'}", *flags)
    photos = [files / "before" / "a.png", files / "after" / "b.png"]
    command = ["interpolate", *photos, f"--codes={tmp_path / 'codes'}", "-o", tmp_path / "a.png"]
    said = sentence(*command, *options(files, "feature-style"))
    assert said.startswith("the codes of one image have features of layer 2, those of the other of layer 3; find both")


# Bad photos among good ones.


@pytest.fixture(name="mixed")
def _mixed(files, tmp_path, monkeypatch):
    """The files, where one photo of several is none, and the current folder."""
    folder = shutil.copytree(files, tmp_path / "files")
    for side in ("before", "after"):
        shutil.copy(folder / side / "a.png", folder / side / "c.png")
    (folder / "before" / "b.png").write_bytes(b"no photo")
    (folder / "bad").mkdir()
    for name in "ab":
        (folder / "bad" / f"{name}.png").write_bytes(b"no photo")
    monkeypatch.chdir(folder)
    return folder


BAD = "before/b.png cannot be read"


@pytest.mark.parametrize(
    ("command", "made"),
    [
        (["mix", "--style=before", "--content=after", "-o", "x"], "6 mixed, all in x/sheet.png"),
        (["mix", "--style=after", "--content=before", "-o", "x"], "6 mixed, all in x/sheet.png"),
        (["mix", "--style=before", "--content=before", "-o", "x"], "4 mixed, all in x/sheet.png"),
        (
            ["pair-direction", "before", "after", "--space=ws", "-o", "x.safetensors"],
            "x.safetensors: a direction in ws from 2 pairs",
        ),
        (
            [
                *("degradation-figure", "--tuning-steps=1", "before/a.png", "before/b.png", "after/b.png"),
                *("--reference=before/c.png", "--reference=after/c.png", "--reference=before/a.png", "-o", "x.png"),
            ],
            "x.png: 2 rows of source, novel, 0.25, 0.5, 0.75, copied, reference",
        ),
        (
            [
                *("degradation-figure", "--tuning-steps=1", "before/a.png", "after/b.png"),
                *("--reference=before/b.png", "--reference=after/c.png", "-o", "x.png"),
            ],
            "x.png: 1 row of source, novel, 0.25, 0.5, 0.75, copied, reference",
        ),
    ],
)
def test_bad_photos_are_skipped_and_said(mixed, command, made):
    result = run(*command, *options(Path(), "psp"))
    assert result.exit_code == 1, result.output
    said, *skipped = result.stdout.splitlines()
    assert said == f"{made}; 1 skipped" and len(skipped) == 1 and BAD in skipped[0]
    assert list(mixed.glob("x*"))


def test_the_others_come_out_as_without_the_bad_photo(mixed):
    done_with = run("pair-direction", "before", "after", "--space=ws", *options(Path(), "psp"), "-o", "x.safetensors")
    assert done_with.exit_code == 1
    pairs = [f"{side}/{name}.png" for name in "ac" for side in ("before", "after")]
    done("pair-direction", *pairs, "--space=ws", *options(Path(), "psp"), "-o", "y.safetensors")
    G = load(mixed / "qc.safetensors", CPU)
    one, other = (load_direction(mixed / f"{name}.safetensors", G).steps(G) for name in "xy")
    assert all(torch.equal(step, other[name]) for name, step in one.items())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["mix", "--style=before/b.png", "--content=after", "-o", "x"], BAD),
        (
            ["mix", "--style=bad", "--content=after", "-o", "x"],
            "none of the 2 photos can be used; the first: bad/a.png",
        ),
        (["interpolate", "before/b.png", "after/a.png", "-o", "x.png"], BAD),
        (["pair-direction", "before/b.png", "after/a.png", "--space=ws", "-o", "x.safetensors"], BAD),
        (["pair-direction", "before/no.png", "after/a.png", "--space=ws", "-o", "x.safetensors"], "no.png does not"),
        (["degradation-figure", "after/a.png", "--reference=before/b.png", "-o", "x.png"], BAD),
        (["degradation-figure", "after/no.png", "--reference=before/a.png", "-o", "x.png"], "no.png does not exist"),
    ],
)
def test_without_a_good_photo_there_is_one_sentence(mixed, command, expected):
    assert expected in sentence(*command, *options(Path(), "psp"))
    assert not list(mixed.glob("x*/*"))


class Finder:
    """A detector that finds as many faces, ever smaller, as the first pixel says."""

    name = "cat"

    def __call__(self, photo):
        return [Face(8 + 8 * k, 8, 7 - k) for k in range(int(photo[0, 0, 0]))]


@pytest.mark.parametrize(
    ("command", "made"),
    [
        (["mix", "--style=one", "--content=two"], "4 mixed, all in out/sheet.png; 2 skipped"),
        (["pair-direction", "one", "two", "--space=ws"], "out.safetensors: a direction in ws from 2 pairs; 2 skipped"),
    ],
)
def test_photos_need_a_face_and_of_several_the_largest_is_taken(files, tmp_path, monkeypatch, command, made):
    monkeypatch.setattr("inversion.photos.reader.find_detector", lambda name: Finder())
    monkeypatch.chdir(tmp_path)
    for seed, side in enumerate(("one", "two")):
        (tmp_path / side).mkdir()
        for name, faces in {"none": 0, "single": 1, "three": 3}.items():
            pixels = np.random.default_rng(10 * seed + faces).integers(0, 255, (32, 32, 3), np.uint8)
            pixels[0, 0] = faces
            PIL.Image.fromarray(pixels).save(tmp_path / side / f"{name}.png")
    output = "out.safetensors" if "pair-direction" in command else "out"
    result = run(*command, "--align=cat", *options(files, "psp"), "-o", output)
    said, *skipped = result.stdout.splitlines()
    assert (result.exit_code, said) == (1, made), result.output
    assert [line.split(" by")[0] for line in skipped] == [f"no face in {side}/none.png" for side in ("one", "two")]
    assert result.stderr.count("three.png: of 3 faces the largest is taken") == 2


# The figure of degradation synthesis.


def test_the_figure_shows_novel_and_copied_degradations(files, tmp_path):
    """The tiles are the library's images: the copied one has the reference's code, the novel one the seed's."""
    a, b, out = files / "before/a.png", files / "before/b.png", tmp_path / "figure.png"
    flags = [f"--network={files / 'qc.safetensors'}", "--no-encoder", "--projector-steps=1", "--tuning-steps=0"]
    text = done("degradation-figure", a, b, f"--reference={b}", "--seed=5", *flags, "--device=cpu", "-o", out)
    assert "2 rows of source, novel, 0.25, 0.5, 0.75, copied, reference" in text
    options = InversionOptions(projector=ProjectorOptions(steps=1), tuning=None)
    inverter = Inverter(files / "qc.safetensors", CPU, options)
    reader = PhotoReader(inverter.G)
    photo, reference = reader.read(a), reader.read(b)
    [found], quality = inverter.invert(photo.target), inverter.codes(reference.target)
    novel = sample_quality(inverter.G, found.latents, [5])
    middle = replace(found.latents, q=torch.lerp(novel.q, quality.q, 0.5))
    shown = {
        0: photo.image,
        1: from_network(inverter.images(found, novel))[0],
        3: from_network(inverter.images(found, middle))[0],
        5: from_network(inverter.images(found, replace(found.latents, q=quality.q)))[0],
        6: reference.image,
    }
    figure, tile, gap = image(out), 96, 4
    left, top = figure.shape[1] - 7 * (tile + gap), figure.shape[0] - 2 * (tile + gap)
    for column, expected in shown.items():
        x = left + column * (tile + gap)
        assert np.array_equal(figure[top : top + tile, x : x + tile], expected.repeat(3, 0).repeat(3, 1)), column


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a.png", "b.png", "c.png", "--reference=a.png", "--reference=b.png"], "2 times for 3 photos; give one, or 3"),
        (["a.png", "--reference=b.png", "-o", "figure.jpg"], "does not end in .png; name it figure.png"),
        (["a.png", "b.png", "--reference=b.png", f"--seed={MAX_SEED}"], "for 2 photos; begin lower"),
        (["a.png", "--reference=b.png", "-o", "b.png"], "b.png"),
    ],
)
def test_wrong_figures_are_one_sentence(files, monkeypatch, arguments, expected):
    monkeypatch.chdir(files / "before")
    output = [] if "-o" in arguments else ["-o", "figure.png"]
    assert expected in sentence(
        "degradation-figure", *arguments, "--network=../qc.safetensors", "--device=cpu", *output
    )
