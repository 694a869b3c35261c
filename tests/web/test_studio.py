"""The studio: what the page shows is what the commands make, found once; one thing at a time, within its time."""

import dataclasses
import threading

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import UserError
from images.photos import from_network, read_photo
from inversion.commands.options import InverterFlags
from inversion.commands.restore import restore, restored_images
from inversion.directions.editing import edited_images
from inversion.inverter import Inverter
from inversion.photos.face_detectors import Face
from inversion.quality.requality import interpolate_quality
from inversion.tuned_weights import Inversion
from tests.support.commands import done
from tests.support.encoders import TINY, write_encoder
from tests.support.networks import quality_generator, write_network
from web.limits import Limits
from web.studio import Look, Studio


def nothing(stage, done, total):
    """Show no progress."""


def opened(studio, path):
    return studio.complete(studio.open(path, nothing), nothing)


@pytest.fixture(scope="module")
def photo(studio, photo_file):
    return opened(studio, photo_file(0))


@pytest.fixture(scope="module")
def other(studio, photo_file):
    return opened(studio, photo_file(1))


def command_images(studio, photo, path):
    inversion = Inversion(photo.latents)
    return restored_images(studio.inverter, inversion, studio.reader.read(path))


def test_by_default_a_photo_looks_as_restore_shows_it(studio, photo, photo_file):
    [inversion] = studio.inverter.invert(photo.part.target)
    for name, tensor in inversion.latents.tensors().items():
        assert torch.equal(tensor, photo.latents.tensors()[name])
    images = command_images(studio, photo, photo_file(0))
    assert np.array_equal(studio.picture(photo, Look(studio.inverter.options.fidelity)), images["restored"])


def test_its_own_degradation_at_no_fidelity_is_the_reconstruction(studio, photo, photo_file):
    images = command_images(studio, photo, photo_file(0))
    assert np.array_equal(studio.picture(photo, Look(0.0, quality=1.0)), images["reconstruction"])
    assert not np.array_equal(studio.picture(photo, Look(0.0, quality=0.5)), images["reconstruction"])


def test_full_fidelity_is_the_photo(studio, photo):
    for quality in (0.0, 1.0):
        assert np.array_equal(studio.picture(photo, Look(1.0, quality)), photo.part.image)


@pytest.mark.parametrize("quality", [0.0, 1.0])
def test_edits_at_no_fidelity_are_those_of_edit(studio, photo, quality):
    images = edited_images(studio.G, photo.latents, studio.directions[1], 1.5)
    [expected] = from_network(images[0 if quality else 1])
    assert np.array_equal(studio.picture(photo, Look(0.0, quality, (0.0, 1.5))), expected)


def test_edits_at_full_fidelity_change_the_photo_by_what_they_change_of_the_networks_image(studio, photo):
    before = studio.picture(photo, Look(0.0)).astype(int)
    after = studio.picture(photo, Look(0.0, strengths=(1.0,))).astype(int)
    edited = studio.picture(photo, Look(1.0, strengths=(1.0,))).astype(int)
    expected = np.clip(photo.part.image.astype(int) + after - before, 0, 255)
    assert np.abs(edited - expected).max() <= 2 and np.abs(after - before).max() > 2


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_another_photos_degradation_is_that_of_degrade(studio, photo, other, share):
    codes = interpolate_quality(photo.latents, photo.latents, other.latents, share)
    [expected] = from_network(studio.inverter.images(Inversion(photo.latents), codes))
    assert np.array_equal(studio.picture(photo, Look(0.0, 1.0, (), other.latents, share)), expected)


def test_all_of_another_degradation_leaves_nothing_of_what_the_photo_tells(studio, photo, other):
    looks = [Look(fidelity, 1.0, (), other.latents, 1.0) for fidelity in (0.0, 1.0)]
    assert np.array_equal(*(studio.picture(photo, look) for look in looks))
    own = Look(1.0, 1.0, (), other.latents, 0.0)
    assert np.array_equal(studio.picture(photo, own), photo.part.image)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"fidelity": 1.5}, "the fidelity is 1.5, must be from 0 to 1"),
        ({"fidelity": float("nan")}, "the fidelity is nan, must be from 0 to 1"),
        ({"quality": -1.0}, "the degradation is -1.0, must be from 0 to 2"),
        ({"share": 2.0}, "the share is 2.0, must be from 0 to 1"),
        ({"strengths": (0.0, float("inf"))}, "the strength of an edit is inf, must be from -4 to 4"),
        ({"strengths": (9.0,)}, "the strength of an edit is 9.0, must be from -4 to 4"),
    ],
)
def test_values_that_no_slider_has_are_refused(values, sentence):
    with pytest.raises(UserError) as caught:
        Look(**{"fidelity": 0.5, **values})
    assert str(caught.value) == sentence


def test_a_search_for_q_shows_the_restored_photo_first(tmp_path, photo_file):
    G = quality_generator()
    network = write_network(tmp_path / "qc.safetensors", G)
    write_encoder(tmp_path / "encoder.safetensors", G, network, dataclasses.replace(TINY, q_width=0))
    studio = Studio(InverterFlags(str(network), device="cpu"), sefa=0)
    steps = []
    first = studio.open(photo_file(0), nothing)
    assert first.latents.q is None and first.notes is None
    final = studio.complete(first, lambda *step: steps.append(step))
    assert final.notes is not None and steps[-1] == ("quality", 12, 12)
    [inversion] = studio.inverter.invert(final.part.target)
    assert torch.equal(inversion.latents.q, final.latents.q)
    for look in (Look(0.5), Look(0.0)):
        assert np.array_equal(studio.picture(first, look), studio.picture(final, look))


def test_notes_are_those_of_restore(studio, photo, photo_file):
    assert not photo.notes or "coarser" in photo.notes[-1]
    large = opened(studio, photo_file(2, size=(90, 80)))
    assert "has 80 pixels a side and the network makes 16" in large.notes[-1]


class Faces:
    """A detector that finds two faces, the right one smaller."""

    name = "cat"

    def __call__(self, photo):
        return [Face(12, 14, 12), Face(40, 14, 8)]


@pytest.fixture(name="two_faces")
def _two_faces(network_files, monkeypatch, tmp_path):
    """A studio that sees two faces, and a photo."""
    monkeypatch.setattr("inversion.photos.reader.find_detector", lambda name: Faces())
    path = tmp_path / "group.png"
    PIL.Image.fromarray(np.random.default_rng(5).integers(0, 256, (32, 56, 3), np.uint8)).save(path)
    encoder = network_files / "encoders" / "encoder.safetensors"
    flags = InverterFlags(str(network_files / "qc.safetensors"), str(encoder), device="cpu")
    return Studio(flags, "cat", sefa=1), path


@pytest.mark.parametrize("knows_the_second", [True, False])
def test_a_photo_of_several_is_shown_whole_as_restore_pastes_it_back(
    two_faces, network_files, tmp_path, monkeypatch, knows_the_second
):
    studio, path = two_faces
    largest = studio.reader.read(path).target
    monkeypatch.setattr(
        Inverter,
        "is_strange",
        lambda self, inversion, target: not knows_the_second and not torch.equal(target, largest),
    )
    flags = [f"--network={network_files / 'qc.safetensors'}", f"--encoder={studio.inverter.options.encoder}"]
    done(
        restore, *flags, "-i", path, "-o", tmp_path / "out", "--align=cat", "--paste-back", "--batch=1", "--device=cpu"
    )
    photo = opened(studio, path)
    look = Look(studio.inverter.options.fidelity)
    assert np.array_equal(photo.image, read_photo(path)) and len(photo.parts) == 2
    assert np.array_equal(studio.picture(photo, look), read_photo(tmp_path / "out/pasted/group.png"))
    assert photo.left == (() if knows_the_second else (1,))
    assert ("face 2: it stays as it is in the whole photo" in photo.notes) is not knows_the_second
    edited = studio.picture(photo, Look(0.0, strengths=(2.0,)))
    assert (edited[:, :28] != photo.image[:, :28]).any()
    assert (edited[:, 30:] != photo.image[:, 30:]).any() == knows_the_second


def test_large_photos_of_several_are_kept_smaller(two_faces, monkeypatch):
    studio, path = two_faces
    monkeypatch.setattr("web.open_photo.WHOLE_SIDE", 28)
    photo = opened(studio, path)
    assert photo.image.shape == (16, 28, 3) and studio.picture(photo, Look(0.5)).shape == (16, 28, 3)
    whole = studio.reader.read_faces(path)
    for part, full in zip(photo.parts, whole, strict=True):
        assert np.array_equal(part.image, full.image)
        assert (part.square.x, part.square.side) == (full.square.x / 2, full.square.side / 2)


def test_the_largest_face_alone_is_shown_as_a_square(two_faces):
    studio, path = two_faces
    studio.reader.faces = "largest"
    photo = opened(studio, path)
    assert len(photo.parts) == 1 and photo.image.shape == (16, 16, 3) and photo.part.photo.shape == (16, 16, 3)


def test_what_takes_too_long_ends(studio, photo_file, monkeypatch):
    monkeypatch.setattr(studio, "limits", Limits(seconds=1e-9))
    sentence = (
        "this has taken longer than the 1e-09 seconds that a request may; ask for less at once, or let whoever runs "
        "this page raise --max-seconds"
    )
    with pytest.raises(UserError) as caught:
        opened(studio, photo_file(0))
    assert str(caught.value) == sentence


def test_a_search_is_ended_between_two_steps(studio, photo_file, monkeypatch):
    done = []

    def codes(target, on_step):
        for step in range(1, 4):
            monkeypatch.setattr("time.monotonic", lambda step=step: 1e9 * (step == 2))
            on_step("projector", step, 3)
        raise AssertionError("it went on")

    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    monkeypatch.setattr(studio.inverter, "codes", codes)
    with pytest.raises(UserError, match=r"longer than the 120 seconds"):
        studio.open(photo_file(0), lambda *step: done.append(step))
    assert done == [("read", 1, 1), ("projector", 1, 3)]


def test_one_thing_is_done_at_a_time(studio, photo, monkeypatch):
    busy, seen = threading.Lock(), []
    image = studio._image

    def exclusive(latents):
        assert busy.acquire(blocking=False), "two at once"
        with busy_until_done():
            seen.append(image(latents))
        return seen[-1]

    def busy_until_done():
        class Release:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                busy.release()

        return Release()

    monkeypatch.setattr(studio, "_image", exclusive)
    threads = [threading.Thread(target=studio.picture, args=(photo, Look(0.0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((0.0, 50.0, 120.0), "--max-mb is 0.0, must be above 0 and at most 512"),
        ((float("nan"), 50.0, 120.0), "--max-mb is nan, must be above 0 and at most 512"),
        ((20.0, 1000.0, 120.0), "--max-megapixels is 1000.0, must be above 0 and at most 179"),
        ((20.0, 50.0, float("inf")), "--max-seconds is inf, must be above 0 and finite"),
    ],
)
def test_limits_that_are_none_are_refused(values, sentence):
    with pytest.raises(UserError) as caught:
        Limits(*values)
    assert str(caught.value) == sentence
