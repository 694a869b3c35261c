"""Tensors in pickles: types of storages, and views that stay within their storage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_AXES = 8

# Type of the elements by the name of the storage's class in `torch`.
STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True, eq=False, repr=False)
class Storage:
    """The elements `[count]` that tensors are views of."""

    values: Tensor


def check_bounds(count: int, offset: int, size: Sequence[int], stride: Sequence[int]) -> None:
    """Raise ValueError unless a view stays within its storage of `count` elements."""
    if len(size) != len(stride) or min([offset, *size, *stride]) < 0:
        raise ValueError("a tensor of impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= count:
        raise ValueError("a tensor beyond the end of its storage")


def view(storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> Tensor:
    """Return the tensor that a pickle describes, a view of the storage.

    Raises ValueError for a tensor beyond its storage, and for one with more elements than its storage.
    """
    if not isinstance(storage, Storage) or {type(n) for n in (offset, *size, *stride)} != {int}:
        raise ValueError("no tensor")
    count = len(storage.values)
    check_bounds(count, offset, size, stride)
    elements = 1
    for n in size[:MOST_AXES]:
        elements *= n
    if len(size) > MOST_AXES or elements > count:
        raise ValueError("a tensor of more elements than its storage")
    return torch.as_strided(storage.values, tuple(size), tuple(stride), offset)
