"""Opcodes of a pickle, limited to allowed ones and to a number of them."""

import pickletools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from dnnlib.errors import UserError

MOST_OPCODES = 2_000_000  # the largest published networks have some ten thousand


class ReadableBytes(Protocol):
    """A file of known length, such as a mapped file."""

    def __len__(self) -> int: ...

    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


def opcodes_of(content: bytes | ReadableBytes, allowed: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield (name, argument) of each opcode up to STOP; later bytes stay unread.

    Args:
        content: bytes, or a mapped file at the first byte of the pickle; its position ends after the last byte.
        allowed: names of the opcodes that may occur.

    Raises UserError, a sentence without its subject, for another opcode and for too many of them, and ValueError for
    memo indices and frames beyond the pickle, which no pickler writes.
    """
    allowed = frozenset(allowed)
    size = len(content)
    argument: Any  # its type depends on the opcode
    opcodes = pickletools.genops(content)  # type: ignore[arg-type]  # takes whatever has `read` and `readline`
    for count, (opcode, argument, _) in enumerate(opcodes, 1):
        if opcode.name not in allowed:
            raise UserError(f"holds other objects than data have ({opcode.name}); it is not opened")
        if count > MOST_OPCODES:
            raise UserError(f"has more than {MOST_OPCODES:,} objects, no network has so many; it is not opened")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > count:
            raise ValueError(f"memo index {argument} after {count} opcodes")
        if opcode.name == "FRAME" and argument > size:
            raise ValueError(f"a frame of {argument} bytes in {size}")
        yield opcode.name, argument
