"""Entries of an LMDB file, read page by page with every number checked against the file.

The library `lmdb` maps the file and trusts it: a truncated one ends the process by SIGBUS, a damaged page by SIGABRT,
and pointers beyond a page read whatever lies there. The format is that of LMDB 0.9 (`lmdb.h`, `mdb.c`) on machines with
64 bits and little-endian numbers: fixed pages, of which the first two are meta pages and the rest a tree.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = 0xBEEFC0DE
VERSION = 1
PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))  # bytes

_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04  # kinds of pages
_BIG = 0x01  # flag of a node whose value lies on pages of its own
_PAGE = struct.Struct("<QHHHH")  # number, unused, kind, end of the positions of nodes, begin of the nodes
_PAGES_OF_VALUE = struct.Struct("<QHHI")  # number, unused, kind, count
_META = struct.Struct("<IIQQ")  # magic, version, address, size of the map
_TREE = struct.Struct("<IHHQQQQQ")  # page size (of the first tree), flags, depth, three counts of pages, entries, root
_TAIL = struct.Struct("<QQ")  # last page in use, transaction
_NODE = struct.Struct("<HHHH")  # low and high half of a size or page, flags, size of the key
_META_AT, _TREES_AT, _TAIL_AT = 16, 40, 136
_EMPTY = (1 << 64) - 1  # root of an empty tree


@dataclass(frozen=True)
class LmdbFile:
    """An LMDB file, open for reading.

    Attributes:
        file: the file.
        pages: number of pages that it says it has.
        page_size: size of a page in bytes.
        root: page of the tree of the only database.
        entries: number of entries that it says it has.
    """

    file: BinaryIO
    pages: int
    page_size: int
    root: int
    entries: int

    @classmethod
    def open(cls, file: BinaryIO) -> "LmdbFile":
        """Return the newest state in a file; raise ValueError for files of another kind, and for most truncated ones.

        Not for all: pages at the end that are free may never have been written, so that the length says nothing. But
        the root is among the pages that were written last.
        """
        first = _read_meta(file, 0)
        size = first[2] if first is not None else next((s for s in PAGE_SIZES if _read_meta(file, s)), 0)
        metas = [meta for meta in (first, _read_meta(file, size)) if meta is not None and meta[2] == size]
        if not metas or size not in PAGE_SIZES:
            raise ValueError("it is no lmdb of a machine with 64 bits")
        _, last_page, _, root, entries = max(metas)
        stored = cls(file, last_page + 1, size, root, entries)
        if root != _EMPTY:
            stored._nodes(root)
        return stored

    def items(self, largest: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in the order of the keys; raise ValueError for damage and for values beyond `largest`."""
        waiting = [self.root] if self.root != _EMPTY else []
        seen, count = 0, 0
        while waiting:
            seen += 1
            if seen > self.pages:
                raise ValueError("its tree has a loop")
            page, is_branch, positions = self._nodes(waiting.pop())
            if is_branch:
                waiting += [_child(page, position) for position in reversed(positions)]
                continue
            for position in positions:
                count += 1
                yield self._entry(page, position, largest)
        if count != self.entries:
            raise ValueError(f"it has {count} entries and says {self.entries}")

    def _nodes(self, number: int) -> tuple[bytes, bool, tuple[int, ...]]:
        """Return a page of the tree, whether it is a branch, and the positions of its nodes."""
        page = self._page(number)
        own, _, kind, lower, _ = _PAGE.unpack_from(page)
        if own != number or kind not in (_BRANCH, _LEAF) or not _PAGE.size <= lower <= len(page):
            raise ValueError(f"page {number} is damaged")
        count = (lower - _PAGE.size) // 2
        return page, kind == _BRANCH, struct.unpack_from(f"<{count}H", page, _PAGE.size)

    def _entry(self, page: bytes, position: int, largest: int) -> tuple[bytes, bytes]:
        low, high, flags, key_size = _node(page, position)
        start = position + _NODE.size
        return _cut(page, start, key_size), self._value(page, start + key_size, low | high << 16, flags, largest)

    def _value(self, page: bytes, start: int, size: int, flags: int, largest: int) -> bytes:
        if flags & ~_BIG or size > largest:
            raise ValueError(f"an entry of {size:,} bytes, or of another kind than images")
        if not flags:
            return _cut(page, start, size)
        (number,) = struct.unpack("<Q", _cut(page, start, 8))
        own, _, kind, count = _PAGES_OF_VALUE.unpack_from(self._page(number))
        head = _PAGES_OF_VALUE.size
        if own != number or kind != _OVERFLOW or head + size > count * self.page_size or number + count > self.pages:
            raise ValueError(f"page {number} is damaged")
        self.file.seek(number * self.page_size + head)
        return self._exactly(size)

    def _page(self, number: int) -> bytes:
        if not 2 <= number < self.pages:
            raise ValueError(f"it asks for page {number} of {self.pages}")
        self.file.seek(number * self.page_size)
        return self._exactly(self.page_size)

    def _exactly(self, size: int) -> bytes:
        content = self.file.read(size)
        if len(content) != size:
            raise ValueError("it is truncated")
        return content


def _read_meta(file: BinaryIO, start: int) -> tuple[int, int, int, int, int] | None:
    """Return transaction, last page, page size, root and entries of the meta page there; None where there is none."""
    file.seek(start)
    page = file.read(_TAIL_AT + _TAIL.size)
    if len(page) < _TAIL_AT + _TAIL.size:
        return None
    magic, version, _, _ = _META.unpack_from(page, _META_AT)
    if magic != MAGIC or version != VERSION:
        return None
    page_size = _TREE.unpack_from(page, _TREES_AT)[0]
    tree = _TREE.unpack_from(page, _TREES_AT + _TREE.size)
    last_page, transaction = _TAIL.unpack_from(page, _TAIL_AT)
    return transaction, last_page, page_size, tree[-1], tree[-2]


def _node(page: bytes, position: int) -> tuple[int, int, int, int]:
    return _NODE.unpack(_cut(page, position, _NODE.size))


def _child(page: bytes, position: int) -> int:
    low, high, flags, _ = _node(page, position)
    return low | high << 16 | flags << 32


def _cut(page: bytes, start: int, size: int) -> bytes:
    if start + size > len(page):
        raise ValueError("an entry beyond the end of its page")
    return page[start : start + size]
