"""Video clips (PyAV): frames as pixels with times, and new frames written with the times and sound of a clip."""

import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnnlib.errors import UserError, one_line
from dnnlib.files import replace_file
from dnnlib.limits import ANY_BYTES, VIDEO_PIXELS
from dnnlib.parsing import existing
from dnnlib.reading import UnreadableError, open_file

try:  # brings its own ffmpeg; only videos need it
    import av
except ImportError:
    av = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
# Visually nearly lossless. The macroblock tree of libx264 reads memory that it has not written, so that files differ.
H264 = {"crf": "17", "preset": "medium", "mbtree": "0"}
MPEG4_BITS = 4.0  # bits a pixel with the fallback codec
DEFAULT_FPS = Fraction(25)  # frame rate of a file that does not state one
# ffmpeg's names of the formats that are read, whatever a file is called.
FORMATS = ",".join(
    ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg", "asf", "mxf", "ivf", "nut")
    + ("h264", "hevc", "m4v", "yuv4mpegpipe", "dv", "gif", "apng")
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a clip: upright, square pixels, uint8 `[H, W, 3]`; `time` in seconds since the file's zero."""

    pixels: np.ndarray
    time: Fraction


@dataclass(frozen=True)
class Clip:
    """A video file whose first frame is known to be readable.

    Attributes:
        path: path of the file.
        width, height: size of the frames that are returned.
        fps: mean frame rate, frames a second.
        frame_count: number of frames that the file states; None if it states none.
        has_audio: whether the file has sound.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frame_count: int | None
    has_audio: bool

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in the order of display; damaged ones are left out, and counted in a warning.

        The times are those of the file, so variable frame rates are kept.
        """
        with _open(self.path) as container:
            stream = _picture_stream(container, self.path)
            stream.thread_type = "AUTO"
            damaged = 0
            last: Fraction | None = None
            for frame in _decode_stream(container, stream):
                if frame is None:
                    damaged += 1
                    continue
                expected = Fraction(0) if last is None else last + 1 / self.fps
                given = _time(frame)
                pixels = _pixels(frame, stream)
                if pixels is None or pixels.shape != (self.height, self.width, 3):
                    damaged += 1
                    continue
                last = expected if given is None or (last is not None and given <= last) else given
                yield Frame(pixels, last)
        if damaged:
            logging.warning("%d parts of %s are damaged, their frames are left out", damaged, self.path)


def read_clip(path: str | os.PathLike) -> Clip:
    """Return the clip in a video file.

    Raises UserError when the file is no video, or has no readable frame.
    """
    path = existing(path, "video")
    with _open(path) as container:
        stream = _picture_stream(container, path)
        decoded = (_pixels(frame, stream) for frame in _decode_stream(container, stream) if frame is not None)
        first = next((pixels for pixels in decoded if pixels is not None), None)
        if first is None:
            raise UserError(f"{path} has no frames that can be read; copy it again, or give another video")
        height, width = first.shape[:2]
        fps = stream.average_rate or stream.guessed_rate or DEFAULT_FPS
        return Clip(path, width, height, Fraction(fps), stream.frames or None, bool(container.streams.audio))


def write_clip(path: str | os.PathLike, frames: Iterable[Frame], like: Clip) -> int:
    """Write frames as H.264 (MPEG-4 where PyAV lacks it) with the sound of a clip, and return their number.

    Every frame keeps its time. The sound is copied unchanged, or encoded as AAC where the container does not take it.
    Odd sizes lose a row or column, since the codec halves the resolution of colour. The file appears when complete.

    Args:
        path: file to write, which ends in .mp4, .m4v, .mov or .mkv.
        frames: frames of one size, in the order of their times.
        like: clip whose sound and frame rate are used.

    Raises UserError for another ending, without any frame, and when the file cannot be written.
    """
    path = check_name(path)
    _require_pyav()
    kind = CONTAINERS[path.suffix.lower()]
    with replace_file(path) as temporary, _open(like.path) as source:
        try:
            with av.open(f"file:{temporary}", "w", format=kind) as container:
                return _write(container, frames, source, like, path)
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error


def check_name(path: str | os.PathLike) -> Path:
    """Return the path of a video to write; raise UserError unless its ending names a container."""
    path = Path(path)
    if path.suffix.lower() not in CONTAINERS:
        raise UserError(f"the video {path} does not end in {', '.join(CONTAINERS)}; name it {path.stem}.mp4")
    return path


def _write(
    container: "OutputContainer", frames: Iterable[Frame], source: "InputContainer", like: Clip, path: Path
) -> int:
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise UserError(f"there are no frames to write to {path}; give a video with at least one")
    video = _Video(container, first.pixels.shape, like)
    audio = _Audio(container, source)
    count = 0
    for frame in itertools.chain([first], frames):
        assert frame.pixels.shape == first.pixels.shape, f"frame {count} has shape {frame.pixels.shape}"
        audio.write_until(frame.time)
        video.write(frame)
        count += 1
    video.close()
    audio.write_until(None)
    return count


class _Video:
    """Encodes pixels as the picture stream of a container."""

    def __init__(self, container: "OutputContainer", shape: tuple[int, ...], like: Clip):
        self.container = container
        self.fps = like.fps
        self.height = shape[0] & ~1
        self.width = shape[1] & ~1
        if min(self.height, self.width) < 2:
            raise UserError(f"frames of {shape[1]}x{shape[0]} pixels are too small for a video; 2x2 is the least")
        has_h264 = "libx264" in av.codecs_available
        self.stream: VideoStream = container.add_stream(
            "libx264" if has_h264 else "mpeg4", rate=like.fps.limit_denominator(65535), options=H264 if has_h264 else {}
        )
        self.stream.width = self.width
        self.stream.height = self.height
        self.stream.pix_fmt = "yuv420p"
        if not has_h264:
            self.stream.bit_rate = int(MPEG4_BITS * self.width * self.height * like.fps)
        # MPEG-4 counts time in 16 bits, in steps of the frame rate only.
        step = Fraction(1, 90_000) if has_h264 else 1 / like.fps.limit_denominator(65535)
        self.stream.codec_context.time_base = self.time_base = step
        context = self.stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1  # ITU-R BT.709
        context.color_range = 1  # 16 to 235
        self.last_pts: int | None = None

    def write(self, frame: Frame) -> None:
        pixels = np.ascontiguousarray(frame.pixels[: self.height, : self.width])
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", src_colorspace="ITU709", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        pts = round(frame.time / self.time_base)
        if self.last_pts is not None:
            pts = max(pts, self.last_pts + 1)
        picture.pts = self.last_pts = pts
        picture.time_base = self.time_base
        picture.duration = max(1, round(1 / self.fps / self.time_base))
        self.container.mux(self.stream.encode(picture))

    def close(self) -> None:
        self.container.mux(self.stream.encode(None))


class _Audio:
    """Copies the sound of one container into another in small parts, so that it is interleaved with the frames."""

    def __init__(self, container: "OutputContainer", source: "InputContainer"):
        self.container = container
        self.packets: Iterator[Packet] = iter(())
        self.waiting: Packet | None = None
        if not source.streams.audio:
            return
        stream = source.streams.audio[0]
        kind = stream.codec_context.codec.canonical_name
        if kind in container.supported_codecs:
            self.packets = self._copy(source, stream, container.add_stream_from_template(stream))
        else:
            logging.warning("sound of kind %s does not fit into the video, it is encoded as AAC", kind)
            aac = container.add_stream("aac", rate=stream.codec_context.sample_rate, layout=stream.layout.name)
            self.packets = self._encode(source, stream, aac)

    def write_until(self, time: Fraction | None) -> None:
        """Write the sound before `time`, in seconds; all remaining sound when None."""
        while (packet := self.waiting or next(self.packets, None)) is not None:
            self.waiting = packet
            if time is not None and packet.dts is not None and packet.dts * packet.time_base > time:
                return
            self.container.mux(packet)
            self.waiting = None

    @staticmethod
    def _copy(source: "InputContainer", stream: "AudioStream", target: "AudioStream") -> Iterator["Packet"]:
        for packet in _packets(source, stream):
            if packet.dts is not None:
                packet.stream = target
                yield packet

    @staticmethod
    def _encode(source: "InputContainer", stream: "AudioStream", target: "AudioStream") -> Iterator["Packet"]:
        for packet in _packets(source, stream):
            for frame in _decode(packet):
                if frame is not None:
                    yield from target.encode(frame)
        yield from target.encode(None)


def _open(path: Path) -> "InputContainer":
    """Open a video file for reading; the errors of PyAV become UserErrors."""
    _require_pyav()
    try:
        open_file(path, ANY_BYTES).close()
    except UnreadableError as error:
        raise UserError(f"{path} cannot be opened ({error.problem})", "name a readable video") from error
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}  # playlists would lead to other files
    try:
        container = av.open(f"file:{path}", container_options=options, metadata_errors="replace")
    except Exception as error:  # errors of ffmpeg, and what PyAV raises for damaged headers
        raise UserError(f"{path} is not a video, or it is damaged; give an mp4, mov, mkv or another video") from error
    # ffmpeg opens text as the output of a terminal, and single pictures as clips
    if container.format.name in ("tty", "image2") or container.format.name.endswith("_pipe"):
        container.close()
        raise UserError(f"{path} is not a video; give an mp4, mov, mkv or another video")
    return container


def _picture_stream(container: "InputContainer", path: Path) -> "VideoStream":
    """Return the first stream of pictures that is not the cover of an album."""
    covers = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & covers and stream.codec_context is not None:
            return stream
    raise UserError(f"{path} has sound but no frames; give a video")


def _packets(container: "InputContainer", stream: "AudioStream | VideoStream") -> Iterator["Packet"]:
    """Yield the packets of a stream, up to the end of the file or to where it breaks off."""
    try:
        yield from container.demux(stream)
    except (av.error.FFmpegError, ValueError) as error:
        logging.warning("%s breaks off: %s", container.name, one_line(error))


def _decode(packet: "Packet") -> list[Any]:
    """Return the frames of a packet; [None] for a damaged one."""
    try:
        return packet.decode()
    except (av.error.FFmpegError, ValueError, MemoryError):
        return [None]


def _decode_stream(container: "InputContainer", stream: "VideoStream") -> Iterator["VideoFrame | None"]:
    for packet in _packets(container, stream):
        yield from _decode(packet)


def _time(frame: "VideoFrame") -> Fraction | None:
    """Return the time of a frame in seconds; None where the file states none."""
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def _pixels(frame: "VideoFrame", stream: "VideoStream") -> np.ndarray | None:
    """Return uint8 `[H, W, 3]`, rotated as the file says, with square pixels; None for a frame that cannot be."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width = frame.width if aspect <= 0 else max(1, round(frame.width * aspect))
    if width * frame.height > VIDEO_PIXELS:
        return None
    try:
        pixels = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
    except (av.error.FFmpegError, ValueError, MemoryError):
        return None
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))  # both count counterclockwise


def _require_pyav() -> None:
    if av is None:
        raise UserError("videos need PyAV, which is not installed; run `pip install -r requirements.txt`")
