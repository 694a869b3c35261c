"""Checksums of tensors and numbers by name, for files whose format has none: a flipped bit must not go unseen."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

Leaf = Tensor | bytes | str | int | float | None  # what a saved structure holds beside dicts, lists and tuples

_DIGITS = 32  # hex digits of a checksum: SHA-256, 1 to 2 GB/s on processors with SHA instructions, its first half


def checksum(name: str, leaf: Leaf) -> str:
    """Return 32 hex digits that change with the name, the type and the content of a leaf.

    Of a tensor, type is dtype and shape, content its bytes in row-major order, wherever and however it is stored;
    numbers and texts count exactly as they are (1, 1.0, True and "1" differ).

    Raises TypeError for any other object.
    """
    digest = hashlib.sha256()
    if isinstance(leaf, Tensor):
        shape = "x".join(str(size) for size in leaf.shape)
        digest.update(f"{name}\0{leaf.dtype} {shape}\0".encode())
        digest.update(_bytes_of(leaf))
    elif isinstance(leaf, bytes | str | int | float | None):
        content = leaf if isinstance(leaf, bytes) else str(leaf).encode("utf-8", "surrogatepass")
        digest.update(f"{name}\0{type(leaf).__name__}\0".encode() + content)
    else:
        raise TypeError(f"{name} is a {type(leaf).__name__}, which has no checksum")
    return digest.hexdigest()[:_DIGITS]


def checksums(leaves: Mapping[str, Leaf]) -> dict[str, str]:
    """Return the checksum of each leaf, by its name."""
    return {name: checksum(name, leaf) for name, leaf in leaves.items()}


def find_differing(leaves: Mapping[str, Leaf], recorded: Mapping[str, object]) -> list[str]:
    """Return, sorted, the names of leaves that differ from what was recorded of them, are missing or in excess."""
    present = checksums(leaves)
    return sorted(name for name in present.keys() | recorded.keys() if present.get(name) != recorded.get(name))


def named_leaves(content: Any) -> dict[str, Leaf]:
    """Return all that nested dicts, lists and tuples hold, by names made of the keys: `optimizer.state[0].exp_avg`.

    A container without content counts as a leaf, so that it is missed when it is gone.
    """
    pairs = list(_walk(content, ""))
    leaves = dict(pairs)
    assert len(leaves) == len(pairs), "two leaves have one name, since a key holds a dot"
    return leaves


def _walk(content: Any, name: str) -> Iterator[tuple[str, Leaf]]:
    if isinstance(content, Mapping):
        items = [(f"{name}.{key}" if name else key, value) for key, value in content.items() if isinstance(key, str)]
        items += [(f"{name}[{key!r}]", value) for key, value in content.items() if not isinstance(key, str)]
    elif isinstance(content, list | tuple):
        items = [(f"{name}[{index}]", value) for index, value in enumerate(content)]
    else:
        yield name, content
        return
    if not items:
        yield name, f"an empty {type(content).__name__}"
    for inner, value in items:
        yield from _walk(value, inner)


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
