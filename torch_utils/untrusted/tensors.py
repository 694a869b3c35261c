"""What pickles say about tensors: types of storages, and views that stay within them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_AXES = 8

# By the name of the storage's class in `torch`.
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
    """The numbers that tensors are views of, `[count]`."""

    values: Tensor


def check_bounds(count: int, offset: int, size: Sequence[int], stride: Sequence[int]) -> None:
    """Raise ValueError unless a view of a storage of `count` elements stays within."""
    if len(size) != len(stride) or min([offset, *size, *stride]) < 0:
        raise ValueError("a tensor of impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= count:
        raise ValueError("a tensor beyond the end of its storage")


def view(storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_) -> Tensor:
    """Return the tensor that a pickle describes, which shares its numbers with the storage.

    Raises ValueError for one that lies beyond it, or that has more elements by repeating them.
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
