"""Ways to damage a file, drawn at random: as disks, cut downloads, editors and people with bad intentions do it."""

import random
import re
from collections.abc import Callable

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF)
NUMBERS = (b"-1", b"0", b"99999999", b"1e308", b"1" + b"0" * 400, b"NaN", b"null", b'"', b"4294967296")
STARTS = (b"PK\x03\x04", b"\x1f\x8b\x08", b"\x80\x04", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x93NUMPY", b"#EXTM3U\n", b"")
INSERTED = (b"\n", b"\x1b[31m", b"\xff\xfe", b"\0" * 64, b"[" * 50_000, b'{"a":' * 20_000, b"," * 100, b"../../")

Mutation = Callable[[bytearray, random.Random], None]


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Return damaged content: of one to four mutations, mostly of one."""
    data = bytearray(content)
    while data == content:  # a mutation may change nothing: that of numbers, where there are none
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            rng.choices(MUTATIONS, WEIGHTS)[0](data, rng)
    return bytes(data)


def flip_bit(data: bytearray, rng: random.Random) -> None:
    """Flip one bit."""
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def change_bytes(data: bytearray, rng: random.Random) -> None:
    """Overwrite one to eight bytes, anywhere, by random ones."""
    for _ in range(rng.randint(1, 8)):
        if data:
            data[_place(data, rng)] = rng.randrange(256)


def truncate(data: bytearray, rng: random.Random) -> None:
    """Cut off the end, as of a download that was stopped."""
    del data[_place(data, rng) :]


def drop(data: bytearray, rng: random.Random) -> None:
    """Leave out a stretch."""
    start = _place(data, rng)
    del data[start : start + _length(data, rng)]


def repeat(data: bytearray, rng: random.Random) -> None:
    """Write a stretch twice."""
    start = _place(data, rng)
    data[start:start] = data[start : start + _length(data, rng)]


def fill(data: bytearray, rng: random.Random) -> None:
    """Overwrite a stretch by one byte, as a lost block of a disk."""
    start, byte = _place(data, rng), rng.choice((0, 0xFF, 0x20))
    end = min(len(data), start + _length(data, rng))
    data[start:end] = bytes([byte]) * (end - start)


def swap(data: bytearray, rng: random.Random) -> None:
    """Exchange two stretches of the same length."""
    size = max(1, _length(data, rng) // 2)
    first, second = sorted((_place(data, rng), _place(data, rng)))
    if first + size <= second and second + size <= len(data):
        data[first : first + size], data[second : second + size] = (
            data[second : second + size],
            data[first : first + size],
        )


def set_number(data: bytearray, rng: random.Random) -> None:
    """Overwrite a binary number by an extreme one: sizes, counts and offsets of the format."""
    size = rng.choice((1, 2, 4, 8))
    start = _place(data, rng)
    value = rng.choice(EXTREMES) & ((1 << 8 * size) - 1)
    data[start : start + size] = value.to_bytes(size, rng.choice(("little", "big")))[: len(data) - start]


def set_text_number(data: bytearray, rng: random.Random) -> None:
    """Replace decimal digits by an extreme number."""
    found = list(re.finditer(rb"\d+", bytes(data[:20_000])))
    if found:
        start, end = rng.choice(found).span()
        data[start:end] = rng.choice(NUMBERS)


def insert(data: bytearray, rng: random.Random) -> None:
    """Insert bytes that readers of text, tables or nested data stumble over, or random ones."""
    start = _place(data, rng)
    data[start:start] = rng.choice((*INSERTED, rng.randbytes(rng.randint(1, 64))))


def begin_otherwise(data: bytearray, rng: random.Random) -> None:
    """Give the file the first bytes of another format."""
    start = rng.choice(STARTS)
    data[: len(start)] = start


MUTATIONS: tuple[Mutation, ...] = (
    *(flip_bit, change_bytes, truncate, drop, repeat, fill, swap, set_number, set_text_number, insert, begin_otherwise),
)
WEIGHTS = (6, 3, 3, 2, 1, 2, 1, 5, 3, 2, 1)


def _place(data: bytearray, rng: random.Random) -> int:
    """Return a position: anywhere, or in the first or last kilobyte, where most formats say what they hold."""
    size = max(1, len(data))
    near = rng.choice((size, 1024, 128))
    offset = rng.randrange(min(size, near))
    return offset if near == size or rng.random() < 0.7 else size - 1 - offset


def _length(data: bytearray, rng: random.Random) -> int:
    return rng.choice((1, 4, 16, 64, 512, max(1, len(data) // 4)))
