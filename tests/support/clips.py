"""Clips for tests, written with PyAV alone."""

from fractions import Fraction

import av
import numpy as np

RATE = 24_000  # samples a second
EVEN = range(0, 600, 60)  # times of ten pictures, in 1/600 s


def picture(index, height=48, width=64):
    """Draw a soft scene `[H, W, 3]` whose brightness and bar tell its number."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    bar = 80 * np.exp(-(((x - 6 - 4 * index) / 4) ** 2))
    return np.stack([60 + 2 * y + bar, 90 + x / 2 + bar, 170 - y - bar / 2], axis=2).clip(0, 255).astype(np.uint8)


def make(path, times, audio=None, rotation=0, container=None):
    """Write a clip with PyAV alone: pictures at `times` in 1/600 s, and a sine of as many seconds."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream("libx264", rate=10, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 600)
        if rotation:
            stream.set_display_rotation(rotation)
        sound = out.add_stream(audio, rate=RATE, layout="mono") if audio else None
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base, frame.duration = time, Fraction(1, 600), 60
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound:
            samples = np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE) * 12_000
            for start in range(0, RATE, 1000):
                block = av.AudioFrame.from_ndarray(samples[None, start : start + 1000].astype(np.int16), "s16", "mono")
                block.sample_rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
                out.mux(sound.encode(block))
            out.mux(sound.encode(None))
    return path


def sound_packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]
