"""The library: what it makes equals what the commands make, forms of images, and its errors."""

import warnings

import numpy as np
import PIL.Image
import pytest
import torch

import qc_stylegan as qc
from generate import main as generate
from images.ranges import from_levels
from inversion.commands.degrade import degrade
from inversion.commands.edit import edit
from inversion.commands.restore import restore
from inversion.directions.direction import save_direction
from inversion.inverter import Inverter
from inversion.photos.face_detectors import Face
from inversion.photos.reader import PhotoReader
from qc_stylegan.conversion import in_the_form_of, pixels_of
from tests.support.commands import done

SIDE = 16


def pixels(path):
    return np.asarray(PIL.Image.open(path))


@pytest.fixture(scope="module")
def net(network_files):
    encoder = network_files / "encoders" / "encoder.safetensors"
    return qc.load(network_files / "qc.safetensors", "cpu", encoder, tuning_steps=2)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "a.png"
    levels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    PIL.Image.fromarray(levels).save(path)
    return path


def inverting(network_files, photo, outdir, *arguments):
    """Return the options of a command that does what `net` does."""
    files = [f"--network={network_files / 'qc.safetensors'}", "-i", photo, "-o", outdir]
    return [*files, f"--encoder={network_files / 'encoders' / 'encoder.safetensors'}", *arguments, "--tuning-steps=2"]


@pytest.mark.parametrize(("quality", "strength"), [("sharp", 1.0), ("random", 1.0), ("seed:5", 0.5)])
def test_images_of_seeds_are_those_of_the_command(net, network_files, tmp_path, quality, strength):
    arguments = [f"--network={network_files / 'qc.safetensors'}", "--seeds=3,7", "--trunc=0.7", "--device=cpu"]
    done(generate, *arguments, f"--quality={quality}", f"--quality-scale={strength}", f"--outdir={tmp_path}")
    made = net.generate([3, 7], quality, 0.7, strength=strength, form="numpy")
    assert made.shape == (2, SIDE, SIDE, 3)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    wanted = [name for name in names if (quality == "sharp") != ("-" in name)]
    for image, name in zip(made, wanted, strict=True):
        assert np.array_equal(image, pixels(tmp_path / name))
    single = net.generate(7, quality, 0.7, strength=strength)
    assert np.array_equal(np.asarray(single), made[1])
    tensor = net.generate([3, 7], quality, 0.7, strength=strength, form="tensor")
    assert torch.equal(tensor, from_levels(torch.from_numpy(made).permute(0, 3, 1, 2)))


def test_restoring_is_that_of_the_command(net, network_files, photo, tmp_path):
    done(restore, *inverting(network_files, photo, tmp_path, "--fidelity=0.3"))
    assert np.array_equal(np.asarray(net.restore(photo, fidelity=0.3)), pixels(tmp_path / "restored/a.png"))


def test_degrading_is_that_of_the_command(net, network_files, photo, tmp_path):
    done(degrade, *inverting(network_files, photo, tmp_path, "--to=seed:4", "--strength=0.5"))
    made = net.degrade([photo], to="seed:4", strength=0.5)
    assert np.array_equal(np.asarray(made[0]), pixels(tmp_path / "degraded-seed4-x0.5-1/a.png"))


def test_editing_is_that_of_the_command(net, network_files, photo, tmp_path):
    [direction] = net.directions(count=1)
    save_direction(tmp_path / "d.safetensors", direction)
    done(edit, *inverting(network_files, photo, tmp_path, f"--direction={tmp_path / 'd.safetensors'}", "--strength=3"))
    for given in (direction, str(tmp_path / "d.safetensors")):
        for is_sharp, ending in ((False, ""), (True, "-sharp")):
            made = net.edit(photo, given, 3, is_sharp=is_sharp)
            assert np.array_equal(np.asarray(made), pixels(tmp_path / f"edited+3{ending}/a.png"))


def test_a_degradation_is_copied_from_a_photo_or_given_as_numbers(net, photo):
    codes = net.encode(photo)
    copied, given = (np.asarray(net.degrade(photo, to)) for to in (photo, codes.q[0].numpy()))
    assert np.array_equal(copied, given)
    assert np.array_equal(
        net.generate(2, codes.q, form="numpy"), net.generate(2, codes.q[0].tolist(), strength=1.0, form="numpy")
    )
    seeds = net.degrade([1, 2], to="seed:4", strength=0.5)
    assert np.array_equal(seeds[1], net.generate(2, "seed:4", strength=0.5))


def test_codes_are_shown(net, photo):
    codes = net.encode([photo, photo])
    images = net.show(codes, form="numpy")
    assert images.shape == (2, SIDE, SIDE, 3) and np.array_equal(images[0], images[1])
    assert net.show(codes.sharp())[0].size == (SIDE, SIDE)


def test_a_whole_photo_keeps_its_size_and_its_edges(net):
    levels = np.random.default_rng(1).integers(0, 256, (SIDE, 2 * SIDE, 3), dtype=np.uint8)
    result = net.restore(levels, whole=True)
    assert result.shape == levels.shape and np.array_equal(result[:, 0], levels[:, 0])


class Faces:
    """A detector that finds two faces, the right one smaller, in photos that are not black."""

    name = "cat"

    def __call__(self, photo):
        return [Face(12, 14, 12), Face(40, 14, 8)] if photo.any() else []


@pytest.fixture(name="group")
def _group(monkeypatch, tmp_path):
    """A photo of two."""
    monkeypatch.setattr("inversion.photos.reader.find_detector", lambda name: Faces())
    path = tmp_path / "group.png"
    PIL.Image.fromarray(np.random.default_rng(5).integers(0, 256, (32, 56, 3), np.uint8)).save(path)
    return path


@pytest.mark.filterwarnings("ignore:this does not look like")
@pytest.mark.parametrize("knows_the_second", [True, False])
def test_all_faces_are_restored_as_by_the_command(net, network_files, group, tmp_path, monkeypatch, knows_the_second):
    first = net.restore(group, align="cat")
    monkeypatch.setattr(
        Inverter, "is_strange", lambda self, inversion, target: not knows_the_second and target.mean() != mean
    )
    mean = PhotoReader(net.G, "cat").read(group).target.mean()
    outdir = tmp_path / "out"
    done(restore, *inverting(network_files, group, outdir, "--align=cat", "--paste-back", "--batch=8"))
    faces = net.restore(group, align="cat", faces="all")
    assert [face.size for face in faces] == [(SIDE, SIDE)] * 2
    for face, name in zip(faces, ("group", "group-face2"), strict=True):
        assert np.array_equal(np.asarray(face), pixels(outdir / f"restored/{name}.png"))
    assert np.abs(np.asarray(first).astype(int) - np.asarray(faces[0])).max() <= 1  # by rounding
    whole = np.asarray(net.restore(group, align="cat", faces="all", whole=True))
    assert np.array_equal(whole, pixels(outdir / "pasted/group.png"))
    assert np.array_equal(whole[:, 32:], pixels(group)[:, 32:]) is not knows_the_second


@pytest.mark.filterwarnings("ignore:this does not look like")
@pytest.mark.parametrize("knows_the_second", [True, False])
def test_all_faces_are_edited_and_degraded_as_by_the_commands(
    net, network_files, group, tmp_path, monkeypatch, knows_the_second
):
    monkeypatch.setattr(
        Inverter, "is_strange", lambda self, inversion, target: not knows_the_second and target.mean() != mean
    )
    mean = PhotoReader(net.G, "cat").read(group).target.mean()
    [direction] = net.directions(count=1)
    save_direction(tmp_path / "d.safetensors", direction)
    options = ["--align=cat", "--paste-back", "--batch=8"]
    chosen = [f"--direction={tmp_path / 'd.safetensors'}", "--strength=3"]
    done(edit, *inverting(network_files, group, tmp_path / "e", *options, *chosen))
    done(degrade, *inverting(network_files, group, tmp_path / "d", *options, "--to=seed:4"))
    for folder, change in (
        ("e/edited+3", lambda **parts: net.edit(group, direction, 3, **parts)),
        ("d/degraded-seed4-1", lambda **parts: net.degrade(group, "seed:4", **parts)),
    ):
        faces = change(align="cat", faces="all")
        for face, name in zip(faces, ("group", "group-face2"), strict=True):
            assert np.array_equal(np.asarray(face), pixels(tmp_path / f"{folder}/{name}.png"))
        whole = np.asarray(change(align="cat", faces="all", whole=True))
        assert np.array_equal(whole, pixels(tmp_path / f"{folder}-pasted/group.png"))
        assert np.array_equal(whole[:, 32:], pixels(group)[:, 32:]) is not knows_the_second


def test_the_codes_of_all_faces_come_photo_by_photo(net, group):
    largest = net.encode([group, group], align="cat")
    both = net.encode([group, group], align="cat", faces="all")
    assert len(largest) == 2 and [len(codes) for codes in both] == [2, 2]
    assert torch.allclose(both[1].ws[0], largest.ws[1], atol=1e-4)


def test_faces_come_back_in_the_form_of_their_photos(net, group):
    array = pixels(group).copy()
    tensor = from_levels(torch.from_numpy(array).permute(2, 0, 1))
    of_array, [of_pil, of_tensor], of_batch = (
        net.restore(given, align="cat", faces="all") for given in (array, [group, tensor], np.stack([array, array]))
    )
    assert of_array.shape == (2, SIDE, SIDE, 3) and of_array.dtype == np.uint8
    assert [image.size for image in of_pil] == [(SIDE, SIDE)] * 2
    assert of_tensor.shape == (2, 3, SIDE, SIDE) and [part.shape for part in of_batch] == [(2, SIDE, SIDE, 3)] * 2
    assert net.restore([array, array], align="cat", faces="all", whole=True)[1].shape == array.shape


def test_what_one_should_know_is_warned_of(net):
    with pytest.warns(UserWarning, match="the result is coarser than the photo") as caught:
        net.restore(np.zeros((64, 64, 3), np.uint8))
    assert caught[0].filename == __file__
    for make in (net.degrade, lambda photo: net.edit(photo, net.directions(count=1)[0])):
        with pytest.warns(UserWarning, match="the result is coarser than the photo"):
            make(np.zeros((64, 64, 3), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.encode(np.zeros((64, 64, 3), np.uint8))
        net.restore(np.zeros((SIDE, SIDE, 3), np.uint8))


LEVELS = np.random.default_rng(2).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "levels"),
    [
        (PIL.Image.fromarray(LEVELS[0]), LEVELS[:1]),
        (LEVELS[0], LEVELS[:1]),
        (LEVELS, LEVELS),
        (from_levels(torch.from_numpy(LEVELS[1]).permute(2, 0, 1)), LEVELS[1:2]),
        (from_levels(torch.from_numpy(LEVELS).permute(0, 3, 1, 2)), LEVELS),
        ([LEVELS[2], PIL.Image.fromarray(LEVELS[0]), (LEVELS[:2],)], LEVELS[[2, 0, 0, 1]]),
        (LEVELS[0, :, :, 0], np.repeat(LEVELS[:1, :, :, :1], 3, 3)),
        (PIL.Image.fromarray(LEVELS[0, :, :, 0]), np.repeat(LEVELS[:1, :, :, :1], 3, 3)),
    ],
)
def test_images_come_back_in_their_form(given, levels):
    read = pixels_of(given)
    assert np.array_equal(np.stack(read), levels)
    again = in_the_form_of(given, read)
    assert type(again) is (list if isinstance(given, (list, tuple)) else type(given)) or isinstance(
        again, PIL.Image.Image
    )
    assert np.array_equal(np.stack(pixels_of(again)), levels)


REFUSALS = [
    (lambda net: net.generate(-1), r"the seeds hold -1, must be numbers from 0 to 4294967295"),
    (lambda net: net.generate([]), "the seeds are none"),
    (lambda net: net.generate(0, "shrap"), "unknown quality 'shrap'; did you mean 'sharp'"),
    (lambda net: net.generate(0, "seed:x"), r"^quality=seed:x has no seed"),
    (lambda net: net.generate(0, [1.0, 2.0]), r"quality has shape \[2\]"),
    (lambda net: net.generate(0, noise_mode="loud"), "unknown noise_mode 'loud'"),
    (lambda net: net.generate(0, truncation=float("nan")), "truncation=nan must be finite"),
    (
        lambda net: net.generate(0, class_index=1),
        "^class_index=1 is given, and this network has no classes; leave class_",
    ),
    (lambda net: net.generate(0, form="jpeg"), "form='jpeg' is none of pil, numpy, tensor"),
    (lambda net: net.restore([]), "there are no images"),
    (lambda net: net.restore(3.5), "float is no image; give a path, a PIL image"),
    (lambda net: net.restore(np.zeros((4, 4, 3))), r"the array is float64 \[4, 4, 3\]; give"),
    (lambda net: net.restore(np.zeros((4, 4, 2), np.uint8)), r"the array is uint8 \[4, 4, 2\]"),
    (lambda net: net.restore(torch.zeros(4, 4, 3)), r"the tensor is float32 \[4, 4, 3\]"),
    (lambda net: net.restore(torch.full((3, 4, 4), 255.0)), r"values up to 255, must be in \[-1, 1\]"),
    (lambda net: net.restore(torch.full((3, 4, 4), float("nan"))), "values up to nan"),
    (lambda net: net.restore("nowhere.jpg"), "nowhere.jpg"),
    (lambda net: net.restore(LEVELS, fidelity=2), "^fidelity is 2"),
    (lambda net: net.restore(LEVELS, faces="al", align="cat"), "^unknown faces 'al'; did you mean 'all'"),
    (lambda net: net.encode(LEVELS, faces="al", align="cat"), "^unknown faces 'al'; did you mean 'all'"),
    (lambda net: net.degrade(3, align="cat"), "^align, faces and whole are for photos, and images of seeds"),
    (lambda net: net.restore(LEVELS, faces="all"), "^faces=all has no effect without align; give align=cat, say"),
    (lambda net: net.restore(np.zeros((40, 40, 3), np.uint8), faces="all", align="cat"), "^no face in image 0 by the"),
    (lambda net: net.edit(LEVELS, "nowhere.safetensors"), "nowhere.safetensors"),
    (lambda net: qc.load("dogs"), "there is no file dogs; give a path, or a network of the program: cats"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSALS)
def test_errors_are_one_sentence_about_parameters(net, call, sentence):
    with pytest.raises(qc.UserError, match=sentence) as caught:
        call(net)
    assert "--" not in str(caught.value)


def test_plain_networks_generate_and_say_what_they_lack(network_files):
    plain = qc.load(network_files / "plain.safetensors", "cpu")
    assert plain.generate(1).size == (SIDE, SIDE) and "no quality codes" in repr(plain)
    with pytest.raises(qc.UserError, match="plain"):
        plain.restore(LEVELS)


def test_an_encoder_that_is_none_is_refused_at_once(network_files, tmp_path):
    with pytest.raises(qc.UserError, match=r"nowhere.safetensors"):
        qc.load(network_files / "qc.safetensors", "cpu", tmp_path / "nowhere.safetensors")
    with pytest.raises(qc.UserError, match="is no encoder; give an encoder-"):
        qc.load(network_files / "qc.safetensors", "cpu", network_files / "qc.safetensors")
