"""Clips: codes and squares that change slowly, and inversions that go on where they were stopped."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from images.photos import to_network
from images.squares import Square, centre_square
from images.video.reader import read_clip, write_clip
from inversion.inverter import InversionOptions, Inverter
from inversion.photos.alignment import AFHQ, NoFaceError
from inversion.photos.face_detectors import Face
from inversion.photos.paste_back import paste_back
from inversion.photos.reader import PhotoReader
from inversion.projector import ProjectorOptions
from inversion.video.clip_inversion import ClipOptions, clip_codes, clip_squares
from inversion.video.frames import Composition, write_alone
from inversion.video.smoothing import smooth_rows, steady_squares
from networks.latents import Latents
from tests.support.clips import EVEN, make
from tests.support.codes import full_codes, same_bits
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.processes.sharing import Share

CPU = torch.device("cpu")
QUICK = ProjectorOptions(steps=5, q_starts=2)
STEADY = ClipOptions(smooth=0)


# Smoothing


def slow_smoothed(rows, sigma):
    """Average every row with all others, by the Gaussian of their distance in time, up to three deviations."""
    result = np.zeros_like(rows)
    for frame in range(len(rows)):
        distances = np.arange(len(rows)) - frame
        weights = np.exp(-0.5 * (distances / sigma) ** 2) * (np.abs(distances) <= math.ceil(3 * sigma))
        result[frame] = np.tensordot(weights / weights.sum(), rows, 1)
    return result


@settings(max_examples=30)
@given(st.integers(1, 12), st.floats(0.05, 9), st.integers(0, 100))
def test_smoothing_is_a_gaussian_mean_over_time(frames, sigma, seed):
    rows = np.random.default_rng(seed).standard_normal((frames, 2, 3))
    assert_close(smooth_rows(torch.from_numpy(rows).float(), sigma), slow_smoothed(rows, sigma))


@pytest.mark.parametrize("sigma", [0, 0.01, 1.5, 40, 1e12])
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_smoothing_keeps_what_is_constant_to_the_ends(frames, sigma):
    rows = torch.randn(1, 3, 4).repeat(frames, 1, 1)
    assert_close(smooth_rows(rows, sigma), rows, rtol=1e-6)


def test_no_smoothing_is_none_and_much_of_it_is_the_mean():
    rows = torch.randn(9, 4)
    assert smooth_rows(rows, 0) is rows
    assert_close(smooth_rows(rows, 1e6), rows.mean(0).expand(9, -1))


def test_smoothing_keeps_the_type():
    assert smooth_rows(torch.ones(4, 2, dtype=torch.float64), 1.0).dtype == torch.float64


# Squares


def test_missing_squares_lie_on_straight_lines_between_those_found():
    found = [None, Square(10, 20, 30), None, None, Square(16, 26, 36), None]
    steady = steady_squares(found, 0)
    assert [square.x for square in steady] == pytest.approx([10, 10, 12, 14, 16, 16])
    assert [square.side for square in steady] == pytest.approx([30, 30, 32, 34, 36, 36])


def test_squares_that_stand_still_stay_and_those_that_shake_are_steadied():
    square = Square(100.5, 60.25, 80, 0.1)
    for each in steady_squares([square, None, square, square], 2.0):
        assert (each.x, each.y, each.side, each.angle) == pytest.approx((100.5, 60.25, 80, 0.1))
    shaking = [Square(50 + 5 * (-1) ** k, 50, 40) for k in range(20)]
    assert np.ptp([square.x for square in steady_squares(shaking, 2.0)][5:-5]) < 0.1


def test_squares_turn_the_short_way():
    steady = steady_squares([Square(5, 5, 4, math.pi - 0.1), None, Square(5, 5, 4, -math.pi + 0.1)], 0)
    assert math.cos(steady[1].angle) == pytest.approx(-1)


class Stub:
    """A detector that finds a face, whose size is given, in the frames whose turn it is."""

    name = "cat"

    def __init__(self, sizes):
        self.sizes = iter(sizes)

    def __call__(self, photo):
        size = next(self.sizes)
        return [] if size is None else [Face(32, 24, size)]


def reader_with(detector, G):
    reader = PhotoReader(G)
    reader.detector = detector
    return reader


def test_frames_without_a_face_follow_their_neighbours(clip, inverter):
    sizes = [None, 20, None, 24, *[24] * 6]
    squares = clip_squares(clip, reader_with(Stub(sizes), inverter.G), 0)
    expected = [AFHQ.scale * size for size in [20, 20, 22, 24, *[24] * 6]]
    assert [square.side for square in squares] == pytest.approx(expected)


def test_a_clip_without_any_face_is_a_sentence(clip, inverter):
    with pytest.raises(NoFaceError, match=r"no frame of .*in.mp4 has a face for the detector 'cat'; choose another"):
        clip_squares(clip, reader_with(Stub([None] * 10), inverter.G), 1.5)


def test_without_a_detector_all_frames_show_their_middle(clip, inverter):
    frame = next(clip.frames()).pixels
    assert clip_squares(clip, PhotoReader(inverter.G), 1.5) == [centre_square(frame)] * len(EVEN)


# Codes


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    return make(tmp_path_factory.mktemp("clips") / "in.mp4", EVEN)


@pytest.fixture(name="clip")
def _clip(clip_file):
    return read_clip(clip_file)


@pytest.fixture(name="inverter")
def _inverter(network_files):
    return Inverter(network_files / "qc.safetensors", CPU, InversionOptions(projector=QUICK, tuning=None))


@pytest.fixture(name="with_encoder")
def _with_encoder(network_files):
    encoder = str(network_files / "encoders" / "encoder.safetensors")
    options = InversionOptions(encoder=encoder, projector=None, tuning=None)
    return Inverter(network_files / "qc.safetensors", CPU, options)


def codes_of(clip, inverter, path, options=STEADY):
    reader = PhotoReader(inverter.G)
    return clip_codes(clip, clip_squares(clip, reader, options.smooth), inverter, reader, options, path)


def test_an_encoder_sees_every_frame_and_all_get_one_quality(clip, with_encoder, tmp_path):
    codes = codes_of(clip, with_encoder, tmp_path / "codes.safetensors", ClipOptions(smooth=0, batch=4))
    images = torch.cat([to_network(frame.pixels, 16) for frame in clip.frames()])
    expected = with_encoder.codes(images)
    assert_close(codes.ws, expected.ws)
    assert_close(codes.q, expected.q.mean(0).expand(len(EVEN), -1))
    assert expected.q.std(0).max() > 1e-4  # that of single frames differs
    again = codes_of(clip, with_encoder, tmp_path / "codes.safetensors", ClipOptions(smooth=2.0))
    assert_close(again.ws, smooth_rows(expected.ws, 2.0))


def test_a_clip_that_stands_still_has_constant_codes(clip, with_encoder, tmp_path):
    frames = list(clip.frames())
    flat = np.full_like(frames[0].pixels, 90)
    write_clip(tmp_path / "still.mp4", [replace(frame, pixels=flat) for frame in frames], clip)
    still = read_clip(tmp_path / "still.mp4")
    pixels = [frame.pixels for frame in still.frames()]
    assert all(np.array_equal(frame, pixels[0]) for frame in pixels)  # the codec keeps them
    codes = codes_of(still, with_encoder, tmp_path / "codes.safetensors", ClipOptions())
    assert_close(codes.ws, codes.ws[:1].expand(len(frames), -1, -1))
    assert_close(codes.q, codes.q[:1].expand(len(frames), -1))


def test_the_projector_starts_from_the_frame_before(clip, inverter, tmp_path, monkeypatch):
    calls, project = [], Inverter.codes

    def noted(self, targets, *args, start=None, **rest):
        found = project(self, targets, *args, start=start, **rest)
        calls.append((self.options.projector.steps, start, found))
        return found

    monkeypatch.setattr(Inverter, "codes", noted)
    codes_of(clip, inverter, tmp_path / "codes.safetensors")
    assert [steps for steps, _, _ in calls] == [5] + [1] * 9
    assert calls[0][1] is None
    for (_, _, before), (_, start, _) in zip(calls, calls[1:], strict=False):
        assert torch.equal(start.ws, before.ws) and torch.equal(start.q, before.q)


def spatial(with_encoder):
    """Let the encoder give paddings and features that tell its image."""
    G, forward = with_encoder.G, with_encoder.encoder.forward

    def predict(images):
        latents, means = forward(images), images.mean((1, 2, 3))
        codes = full_codes(G, len(images), layer=1)
        tensors = {name: value * means.view(-1, *[1] * (value.ndim - 1)) for name, value in codes.tensors().items()}
        return Latents.from_tensors(tensors | latents.tensors())

    with_encoder.encoder.forward = predict
    return with_encoder


def test_each_frame_keeps_its_own_paddings_and_features(clip, with_encoder, tmp_path):
    inverter, path = spatial(with_encoder), tmp_path / "codes.safetensors"
    images = torch.cat([to_network(frame.pixels, 16) for frame in clip.frames()])
    expected = inverter.encoder(images)
    codes = codes_of(clip, inverter, path, ClipOptions(smooth=2.0, batch=len(EVEN)))
    assert codes.tensors().keys() == expected.tensors().keys()
    for name, value in codes.tensors().items():
        smoothed = smooth_rows(expected.ws, 2.0) if name == "ws" else expected.q.mean(0).expand(len(EVEN), -1)
        assert_close(value, smoothed if name in ("ws", "q") else expected.tensors()[name])
    assert load_tensors(path).keys() == expected.tensors().keys()
    again = codes_of(clip, inverter, path, ClipOptions(smooth=2.0))
    assert same_bits(again, codes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"ws": torch.zeros(4, 6, 8)},
            r"codes.safetensors holds ws of \[6, 8\], not \[6, 16\]; remove it, and its codes",
        ),
        ({"features.x": torch.zeros(4, 1)}, r"codes.safetensors cannot be read: .*; remove it, and its codes are"),
        (
            {"features.1": torch.zeros(4, 16, 4, 4)},
            r"holds ws, q, features.1 of each frame, and further frames have ws",
        ),
    ],
)
def test_damaged_codes_of_a_clip_end_in_a_sentence(clip, with_encoder, tmp_path, change, sentence):
    path = tmp_path / "codes.safetensors"
    codes_of(clip, with_encoder, path, ClipOptions(batch=4))
    found = {name: value[:4] for name, value in load_tensors(path).items()}
    header = {name: value for name, value in read_header(path).items() if name != "format_version"}
    save_tensors(path, found | change, header)
    with pytest.raises(UserError, match=sentence):
        codes_of(clip, with_encoder, path, ClipOptions(batch=4))


class PowerCutError(Exception):
    """The power is gone."""


def stop_after(monkeypatch, calls):
    left, codes = iter(range(calls)), Inverter.codes

    def stopping(*args, **rest):
        if next(left, None) is None:
            raise PowerCutError
        return codes(*args, **rest)

    monkeypatch.setattr(Inverter, "codes", stopping)


@pytest.mark.parametrize("every", [2, 64])
@pytest.mark.parametrize(("kind", "batch"), [("inverter", 1), ("with_encoder", 3)])
def test_stopped_and_continued_is_the_same_as_uninterrupted(request, clip, tmp_path, monkeypatch, kind, batch, every):
    inverter, options = request.getfixturevalue(kind), ClipOptions(smooth=1.0, batch=batch)
    expected = codes_of(clip, inverter, tmp_path / "whole.safetensors", options)
    path = tmp_path / "codes.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("inversion.video.clip_inversion.SAVE_EVERY", every)
        stop_after(patch, 2)
        with pytest.raises(PowerCutError):
            codes_of(clip, inverter, path, options)
    assert len(load_tensors(path)["ws"]) == 2 * batch  # whatever stops it, nothing found is lost
    with monkeypatch.context() as patch:
        stop_after(patch, math.ceil((len(EVEN) - 2 * batch) / batch))
        codes = codes_of(clip, inverter, path, options)
    assert torch.equal(codes.ws, expected.ws) and torch.equal(codes.q, expected.q)
    with monkeypatch.context() as patch:
        stop_after(patch, 0)
        assert torch.equal(codes_of(clip, inverter, path, options).ws, expected.ws)


def test_codes_of_another_clip_or_other_options_are_found_anew(clip, with_encoder, inverter, tmp_path):
    path = tmp_path / "codes.safetensors"
    codes_of(clip, with_encoder, path)
    projected = codes_of(clip, inverter, path)
    assert torch.equal(projected.ws, codes_of(clip, inverter, tmp_path / "other.safetensors").ws)
    shorter = read_clip(make(tmp_path / "shorter.mp4", range(0, 300, 60)))
    assert len(codes_of(shorter, with_encoder, path)) == 5


def test_another_file_is_not_overwritten(clip, with_encoder, tmp_path):
    path = tmp_path / "codes.safetensors"
    save_tensors(path, {"ws": torch.ones(1)}, {"kind": "inversion"})
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"codes.safetensors is in the way and holds no codes of a clip"):
        codes_of(clip, with_encoder, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("pastes", [False, True])
def test_shown_frames_keep_their_times(clip, pastes):
    frames = list(clip.frames())
    squares = [Square(20 + k, 24, 16) for k in range(len(frames))]
    images = [np.full((16, 16, 3), 20 * k, np.uint8) for k in range(len(frames))]
    shown = []

    def write(given):
        shown.extend(given)
        return len(shown)

    composition = Composition(clip, squares, pastes)
    spans = [range(0, 4), range(4, 8), range(8, 10)]
    render = lambda spans: (np.stack(images[span.start : span.stop]) for span in spans)  # noqa: E731
    assert write_alone(composition, spans, render, write, Share(CPU)) == 10
    assert [frame.time for frame in shown] == [frame.time for frame in frames]
    for result, frame, image, square in zip(shown, frames, images, squares, strict=True):
        assert np.array_equal(result.pixels, paste_back(frame.pixels, image, square) if pastes else image)
