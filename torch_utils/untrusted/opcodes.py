"""Go through a pickle's opcodes, within limits, before anything or while something is made of them."""

import mmap
import pickletools
from collections.abc import Iterable, Iterator
from typing import Any

from dnnlib.errors import UserError

MOST_OPCODES = 2_000_000  # the largest published networks have some ten thousand


def opcodes_of(content: bytes | mmap.mmap, allowed: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield (name, argument) of each opcode up to STOP; what comes after is left unread.

    Args:
        content: bytes, or a mapped file at the pickle's first byte, which is left behind its last one.
        allowed: names of the opcodes that may occur.

    Raises UserError, a sentence without its subject, for another opcode and for too many of them, and ValueError for
    what no pickler writes: memo indices and frames beyond the pickle.
    """
    allowed = frozenset(allowed)
    size = len(content)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content), 1):
        if opcode.name not in allowed:
            raise UserError(f"holds other objects than a network has ({opcode.name}); it is not opened")
        if count > MOST_OPCODES:
            raise UserError(f"has more than {MOST_OPCODES:,} objects, no network has so many; it is not opened")
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > count:
            raise ValueError(f"memo index {argument} after {count} opcodes")
        if opcode.name == "FRAME" and argument > size:
            raise ValueError(f"a frame of {argument} bytes in {size}")
        yield opcode.name, argument
