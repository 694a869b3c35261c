"""Clips that several processes divide: the same bits, and an end for all of them when one fails or dies."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from dnnlib.errors import UserError
from dnnlib.running.stop import StopNow
from images.squares import Square
from images.video.reader import read_clip
from inversion.inverter import InversionOptions, Inverter
from inversion.photos.paste_back import paste_back
from inversion.photos.reader import PhotoReader
from inversion.projector import ProjectorOptions
from inversion.video.clip_inversion import ClipOptions, clip_codes, clip_squares
from inversion.video.codes_file import CodesFile, parts_folder
from inversion.video.frames import Composition, write_divided
from tests.support.clips import EVEN, make
from tests.support.codes import same_bits
from torch_utils.processes.sharing import PartShare, Share

CPU = torch.device("cpu")
SPANS = [range(start, min(start + 3, 10)) for start in range(0, 10, 3)]


class MemoryStore:
    """What threads that stand for processes share."""

    def __init__(self):
        self.values, self.lock = {}, threading.Lock()

    def get(self, key):
        return self.values[key].encode()

    def set(self, key, value):
        self.values[key] = value

    def add(self, key, amount):
        with self.lock:
            self.values[key] = str(int(self.values.get(key, 0)) + amount)
            return int(self.values[key])

    def check(self, keys):
        return all(key in self.values for key in keys)


@pytest.fixture(name="clip")
def _clip(tmp_path):
    return read_clip(make(tmp_path / "in.mp4", EVEN))


@pytest.fixture(name="store")
def _store():
    return MemoryStore()


def in_two(store, work):
    """Return what `work(share)` gives in each of two processes, or its error."""
    with ThreadPoolExecutor(2) as executor:
        futures = [executor.submit(work, PartShare(CPU, store, rank, 2)) for rank in range(2)]
        return [future.exception() or future.result() for future in futures]


def inverter_of(network_files, encoder):
    path = str(network_files / "encoders" / "encoder.safetensors") if encoder else None
    projector = None if encoder else ProjectorOptions(steps=2, q_starts=1)
    options = InversionOptions(encoder=path, projector=projector, tuning=None)
    return Inverter(network_files / "qc.safetensors", CPU, options)


@pytest.mark.parametrize("encoder", [True, False])
def test_codes_of_two_processes_are_those_of_one(clip, store, network_files, tmp_path, encoder):
    """With an encoder both find some; the projector goes from frame to frame, so that one finds all."""
    inverter = inverter_of(network_files, encoder)
    reader = PhotoReader(inverter.G)

    folder = parts_folder(tmp_path / "two.safetensors")
    folder.mkdir()
    (folder / ".codes-00000003-00000006.safetensors.0a1b2c3d.part").touch()  # by a killed process

    def codes(share, name="two.safetensors"):
        squares = clip_squares(clip, reader, 1.5, share)
        return clip_codes(clip, squares, inverter, reader, ClipOptions(1.5, batch=3), tmp_path / name, share)

    expected = codes(Share(CPU), "one.safetensors")
    found = in_two(store, codes)
    assert all(same_bits(one, expected) for one in found)
    assert (tmp_path / "two.safetensors").read_bytes() == (tmp_path / "one.safetensors").read_bytes()
    assert not parts_folder(tmp_path / "two.safetensors").exists()


def test_codes_that_were_found_before_a_stop_are_used(clip, network_files, tmp_path, monkeypatch):
    inverter = inverter_of(network_files, encoder=True)
    reader, path = PhotoReader(inverter.G), tmp_path / "codes.safetensors"
    options, codes, calls = ClipOptions(0, batch=3), Inverter.codes, []
    squares = clip_squares(clip, reader, 0)

    def stopping(self, images, *rest):
        calls.append(len(images))
        if len(images) == 1:  # the last frame
            raise StopNow(2)
        return codes(self, images, *rest)

    def run(share):
        return clip_codes(clip, squares, inverter, reader, options, path, share)

    with monkeypatch.context() as patch:
        patch.setattr(Inverter, "codes", stopping)
        stopped = in_two(MemoryStore(), lambda share: halting(share, lambda: run(share)))
    assert all(isinstance(error, StopNow) for error in stopped) and not path.exists()
    assert sorted(calls) == [1, 3, 3, 3]
    monkeypatch.setattr(Inverter, "codes", lambda self, images: calls.append(-len(images)) or codes(self, images))
    [one, other] = in_two(MemoryStore(), run)
    assert calls[4:] == [-1]
    assert same_bits(one, other) and len(one) == 10


def halting(share, function):
    """Call a function as `divide` does: an error ends the other processes."""
    try:
        return function()
    except BaseException:
        share.halt()
        raise


def composition_of(clip):
    return Composition(clip, [Square(20 + k, 24, 16) for k in range(10)], pastes=True)


def render(spans):
    for span in spans:
        yield np.stack([np.full((16, 16, 3), 20 * k, np.uint8) for k in span])


@pytest.mark.parametrize("ahead", [1, 4])
def test_frames_come_in_order_from_two_processes(clip, store, tmp_path, monkeypatch, ahead):
    monkeypatch.setattr("inversion.video.frames.AHEAD", ahead)
    shown, composition = [], composition_of(clip)

    def write(frames):
        shown.extend(frames)
        return len(shown)

    path = tmp_path / "out.mp4"
    parts_folder(path).mkdir()
    for left in ("images-00000042.safetensors", ".images-00000003.safetensors.0a1b2c3d.part"):  # by a killed process
        (parts_folder(path) / left).touch()
    counts = in_two(store, lambda share: write_divided(composition, SPANS, render, write, path, share))
    assert counts == [10, 0]
    images = np.concatenate(list(render(SPANS)))
    for result, frame, image, square in zip(shown, clip.frames(), images, composition.squares, strict=True):
        assert result.time == frame.time
        assert np.array_equal(result.pixels, paste_back(frame.pixels, image, square))
    assert not parts_folder(path).exists()


def test_a_full_disk_ends_all_processes_with_its_error(clip, store, tmp_path, monkeypatch):
    monkeypatch.setattr("inversion.video.frames.AHEAD", 0.5)

    def write(frames):
        next(frames)
        raise UserError("the disk is full")

    composition = composition_of(clip)
    work = lambda share: write_divided(composition, SPANS, render, write, tmp_path / "out.mp4", share)  # noqa: E731
    first, second = in_two(store, work)
    assert str(first) == "the disk is full"
    assert second == 0 or isinstance(second, StopNow)


def test_an_error_in_rendering_ends_the_writer(clip, store, tmp_path):
    def broken(spans):
        raise UserError("no memory")
        yield

    work = lambda share: halting(  # noqa: E731
        share,
        lambda: write_divided(composition_of(clip), SPANS, broken, lambda f: len(list(f)), tmp_path / "o.mp4", share),
    )
    assert {str(error) for error in in_two(store, work) if not isinstance(error, StopNow)} == {"no memory"}


def test_whoever_waits_for_the_dead_says_who_has_died(store):
    store.set("death", "process 1 of 2 was ended by SIGKILL")
    share = PartShare(CPU, store, 0, 2)
    with pytest.raises(UserError, match="^process 1 of 2 was ended by SIGKILL; the same command goes on from what was"):
        share.wait("anything")
    share.offer("anything", [1, None])
    assert share.wait("anything") == [1, None]


def test_parts_of_other_settings_are_no_parts_of_this_clip(clip, network_files, tmp_path):
    inverter = inverter_of(network_files, encoder=True)
    codes = inverter.codes(torch.zeros(3, 3, 16, 16))
    ours, theirs = (CodesFile(tmp_path / "x.safetensors", {"clip": name}, inverter.G) for name in "ab")
    ours.save_part(range(3), codes)
    assert ours.has_part(range(3)) and not theirs.has_part(range(3)) and not ours.has_part(range(3, 6))
    ours.join([range(3)])
    assert same_bits(ours.load()[0], codes) and theirs.load() == []
