"""Clips: what is read is what was written, with its times and its sound, and what is no clip is a sentence."""

import logging
import os
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from dnnlib.errors import UserError
from images.video import reader as video_reader
from images.video.reader import Frame, read_clip, write_clip
from tests.support.clips import EVEN, RATE, make, picture, sound_packets


def sound_start(path):
    with av.open(str(path)) as container:
        packet = next(container.demux(audio=0))
        return packet.pts * packet.time_base


def error(a, b):
    return np.abs(a.astype(int) - b).mean()


UNEVEN = [0, 60, 90, 240, 250, 400, 590]


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_times_pixels_and_sound_go_through(tmp_path, times, ending):
    clip = read_clip(make(tmp_path / "in.mp4", times, "aac"))
    assert (clip.width, clip.height, clip.frame_count, clip.has_audio) == (64, 48, len(times), True)
    frames = list(clip.frames())
    assert [frame.time * 600 for frame in frames] == list(times)
    assert all(error(frame.pixels, picture(index)) < 5 for index, frame in enumerate(frames))
    assert write_clip(tmp_path / f"out.{ending}", clip.frames(), clip) == len(times)
    copy = read_clip(tmp_path / f"out.{ending}")
    again = list(copy.frames())
    assert len(again) == len(times)
    # Matroska counts milliseconds from zero on: pictures and sound move together by what AAC puts before its start.
    moves = [a.time - b.time for a, b in zip(again, frames, strict=True)]
    moves.append(sound_start(copy.path) - sound_start(clip.path))
    assert max(moves) - min(moves) <= Fraction(2, 1000)
    assert min(moves) >= 0 and max(moves) <= (0 if ending == "mp4" else Fraction(1, 20))
    assert all(error(a.pixels, b.pixels) < 3 for a, b in zip(again, frames, strict=True))
    assert sound_packets(copy.path) == sound_packets(clip.path)  # the very bytes: nothing was encoded again
    if times is EVEN:
        assert clip.fps == 10 and abs(copy.fps - 10) < 0.05


def test_new_frames_may_have_another_size_and_odd_sides_lose_one(tmp_path):
    clip = read_clip(make(tmp_path / "in.mp4", EVEN, "aac"))
    larger = (replace(frame, pixels=np.repeat(frame.pixels, 2, axis=1)[:-1, :-1]) for frame in clip.frames())
    write_clip(tmp_path / "out.mp4", larger, clip)
    out = read_clip(tmp_path / "out.mp4")
    assert (out.width, out.height) == (126, 46)


def test_colours_stay(tmp_path):
    clip = read_clip(make(tmp_path / "in.mp4", EVEN))
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [230, 230, 230]], np.uint8)
    flat = np.repeat(np.repeat(colours[None], 32, axis=0), 16, axis=1)
    write_clip(tmp_path / "out.mp4", [Frame(flat, Fraction(0))], clip)
    (frame,) = read_clip(tmp_path / "out.mp4").frames()
    for index, colour in enumerate(colours):
        middle = frame.pixels[8:24, 16 * index + 6 : 16 * index + 10].reshape(-1, 3).mean(0)
        assert np.abs(middle - colour).max() < 5, index


def test_a_clip_without_sound_stays_without(tmp_path):
    clip = read_clip(make(tmp_path / "in.mp4", EVEN))
    assert not clip.has_audio
    write_clip(tmp_path / "out.mp4", clip.frames(), clip)
    assert not read_clip(tmp_path / "out.mp4").has_audio


def test_sound_that_does_not_fit_is_encoded(tmp_path, caplog):
    clip = read_clip(make(tmp_path / "in.mkv", EVEN, "wavpack"))
    with caplog.at_level(logging.WARNING):
        write_clip(tmp_path / "out.mp4", clip.frames(), clip)
    assert "encoded as AAC" in caplog.text
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])[2000:22_000]
    spectrum = np.abs(np.fft.rfft(samples))
    assert abs(spectrum.argmax() * RATE / len(samples) - 440) < 2


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (-90, 3), (180, 2)])
def test_turned_clips_are_upright(tmp_path, rotation, turns):
    clip = read_clip(make(tmp_path / "in.mp4", EVEN, rotation=rotation))
    expected = np.rot90(picture(0), turns)  # the display matrix turns counterclockwise
    frame = next(clip.frames())
    assert (clip.height, clip.width) == expected.shape[:2]
    assert error(frame.pixels, expected) < 5


def test_a_clip_that_breaks_off_gives_what_it_has(tmp_path):
    whole = make(tmp_path / "in.mkv", EVEN, container="matroska").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    frames = list(read_clip(tmp_path / "cut.mkv").frames())
    assert 0 < len(frames) < len(EVEN)


def only_sound(path):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=RATE, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), "s16", "mono")
        block.sample_rate = RATE
        out.mux(stream.encode(block))
        out.mux(stream.encode(None))


def without_frames(path):
    """A file whose header promises H.264, and whose packets are missing."""
    whole = make(path, EVEN).read_bytes()
    path.write_bytes(whole[: whole.index(b"mdat") + 4] + bytes(len(whole) - whole.index(b"mdat") - 4))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.mp4", lambda path: path.write_text("not a video\n" * 50), "is not a video"),
        ("a.txt", lambda path: path.write_text("not a video\n" * 50), "is not a video"),
        ("a.mp4", lambda path: path.write_bytes(b""), "is not a video"),
        ("a.mp4", lambda path: None, "does not exist"),
        ("a.mp4", lambda path: path.mkdir(), "is not a video|cannot be opened"),
        ("a.mp4", without_frames, "is not a video|no frames"),
        ("a.m4a", only_sound, "has sound but no frames"),
    ],
)
def test_what_is_no_clip_is_a_sentence(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(UserError, match=message) as caught:
        read_clip(tmp_path / name)
    assert name in str(caught.value) and ";" in str(caught.value)


def test_the_same_frames_give_the_same_file(tmp_path):
    """libx264's macroblock tree reads what other calls have left in memory, as soon as a clip has several scenes."""
    clip = read_clip(make(tmp_path / "in.mp4", EVEN))
    draws = np.random.default_rng(0)
    scenes = [np.kron(draws.integers(0, 256, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in range(6)]
    frames = [Frame(np.roll(scenes[k // 10], k % 10 * 3, 1), Fraction(k, 25)) for k in range(60)]
    for name in ("a.mp4", "b.mp4"):
        assert write_clip(tmp_path / name, frames, clip) == 60
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_no_frames_and_other_endings_are_refused_and_leave_nothing(tmp_path):
    clip = read_clip(make(tmp_path / "in.mp4", EVEN, "aac"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="there are no frames to write"):
        write_clip(tmp_path / "out.mp4", [], clip)
    with pytest.raises(UserError, match=r"does not end in .mp4, .m4v, .mov, .mkv; name it out.mp4"):
        write_clip(tmp_path / "out.avi", clip.frames(), clip)
    with pytest.raises(UserError, match="cannot write"):
        write_clip(tmp_path / "none" / "out.mp4", clip.frames(), clip)

    def failing():
        yield next(clip.frames())
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        write_clip(tmp_path / "out.mp4", failing(), clip)
    assert sorted(tmp_path.iterdir()) == before


def test_metadata_in_another_encoding_do_not_matter(tmp_path):
    path = make(tmp_path / "in.mp4", EVEN)
    with av.open(str(path)) as source, av.open(str(tmp_path / "tagged.mp4"), "w") as target:
        target.metadata["title"] = "TITLETITLE"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = (tmp_path / "tagged.mp4").read_bytes()
    assert content.count(b"TITLETITLE") == 1
    (tmp_path / "tagged.mp4").write_bytes(content.replace(b"TITLETITLE", b"\xff\xfe\xe8" + b"TITLE!!"))
    assert len(list(read_clip(tmp_path / "tagged.mp4").frames())) == len(EVEN)


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_lists_of_other_files_are_no_videos(tmp_path, name):
    """They would make the reader open whatever they name."""
    make(tmp_path / "other.mp4", EVEN)
    start = "ffconcat version 1.0\nfile other.mp4\n" if name.endswith("concat") else "#EXTM3U\n#EXTINF:1,\nother.mp4\n"
    (tmp_path / name).write_text(start)
    with pytest.raises(UserError, match=f"{name} is not a video, or it is damaged"):
        read_clip(tmp_path / name)


def test_a_pipe_is_no_video(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="it is no regular file"):
        read_clip(tmp_path / "a.mp4")


def test_frames_of_another_size_are_left_out(tmp_path, monkeypatch, caplog):
    """A damaged file may change the size between two frames, which nothing that follows expects."""
    clip = read_clip(make(tmp_path / "in.mp4", EVEN))
    whole, sizes = video_reader._pixels, iter(range(100))
    monkeypatch.setattr(video_reader, "_pixels", lambda *frame: whole(*frame)[: 40 if next(sizes) == 3 else None])
    assert len(list(clip.frames())) == len(EVEN) - 1
    assert "1 parts of" in caplog.text


def test_frames_beyond_the_limit_are_not_made(tmp_path, monkeypatch):
    path = make(tmp_path / "in.mp4", EVEN)
    monkeypatch.setattr(video_reader, "VIDEO_PIXELS", 64 * 48 - 1)
    with pytest.raises(UserError, match="has no frames that can be read"):
        read_clip(path)
