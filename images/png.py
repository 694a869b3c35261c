"""Checksums of PNG files, which decoders look at or not as they please: pyspng does not, Pillow only some."""

import zlib

from dnnlib import limits

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START = b"\x00\x00\x00\x0dIHDR"


def is_png(data: bytes) -> bool:
    """Return whether data begin as a PNG file."""
    return data[:8] == SIGNATURE


def is_plain(data: bytes) -> bool:
    """Return whether the header of a PNG says 8 bits of gray (colour type 0) or RGB (2), which need no conversion."""
    return data[24:26] in (b"\x08\x00", b"\x08\x02")


def check_png(data: bytes) -> None:
    """Raise ValueError unless all parts of a PNG file up to its end are there, each with its checksum.

    Sizes beyond `limits.PIXELS` are refused as well, before anything is decoded. Bytes after the end do not count.
    """
    if data[8:16] != _START:
        raise ValueError("it does not begin with a header")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if width * height > limits.PIXELS:
        raise ValueError(f"it has {width}x{height} pixels, more than {limits.PIXELS / 1e6:.0f} million")
    view, position, kind = memoryview(data), 8, b""
    while kind != b"IEND":
        length = int.from_bytes(view[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(data):
            raise ValueError("it is truncated")
        kind = data[position + 4 : position + 8]
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"its part {kind.decode('latin1')} is damaged (wrong checksum)")
        position = end + 4
