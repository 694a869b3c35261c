"""What a reader of files is for the campaign, and how to tell whether two readings gave the same."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from torch_utils.checksums import checksum


@dataclass(frozen=True)
class Reader:
    """A way by which a file comes into this program.

    Attributes:
        name: name of the row in the table.
        file: name of the file.
        write: writes a whole file to a path.
        read: reads it, and returns the digest of all that it says; raises UserError for a damaged one.
        has_checksums: whether the format has checksums of everything, so that no damage may go unseen.
        unpack, pack: where the damage is within a container, what takes the content out and puts it back.
    """

    name: str
    file: str
    write: Callable[[Path], object]
    read: Callable[[Path], str]
    has_checksums: bool
    unpack: Callable[[bytes], bytes] = bytes
    pack: Callable[[bytes], bytes] = bytes


def digest(*parts: Any) -> str:
    """Return hex digits that tell contents apart: tensors, arrays, JSON, and lists and dicts of them."""
    total = hashlib.sha256()
    for part in parts:
        total.update(_digest(part).encode())
    return total.hexdigest()


def _digest(part: Any) -> str:
    if isinstance(part, Tensor):
        return checksum("", part)
    if isinstance(part, np.ndarray):
        return f"{part.dtype}{part.shape}{hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()}"
    if isinstance(part, Mapping):
        return digest(*(item for name in sorted(part, key=str) for item in (str(name), part[name])))
    if isinstance(part, list | tuple):
        return digest(len(part), *part)
    return json.dumps(part, default=str)
