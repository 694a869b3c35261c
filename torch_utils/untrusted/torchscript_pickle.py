"""Check the pickles in TorchScript files: read them as data, with placeholders for all objects."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch_utils.untrusted.pickles import Budget, Names, read_pickle, records
from torch_utils.untrusted.tensors import STORAGE_DTYPES, check_bounds

_ROOM = 1 << 20  # bytes that a pickle's objects may take beyond its own


def check_objects(content: bytes, defined: frozenset[str], storage_bytes: Mapping[str, int]) -> None:
    """Raise UserError, a sentence without its subject, unless a pickle holds plain containers, tensors and modules.

    Args:
        content: bytes of `data.pkl` or `constants.pkl`.
        defined: qualified names of the classes whose source is in the file.
        storage_bytes: size of each storage in bytes; tensors must stay within, which torch does not check.
    """
    names = {**records(*(_split(name) for name in defined)), **_NAMES}
    load = functools.partial(_storage, storage_bytes=storage_bytes)
    read_pickle(content, names, Budget(2 * len(content) + _ROOM), load)


def _split(name: str) -> tuple[str, str]:
    module, _, own = name.rpartition(".")
    return module, own


def _storage(persistent_id: Any, storage_bytes: Mapping[str, int]) -> int:
    """Return the number of elements of a storage."""
    _, kind, key, _, count = persistent_id
    if type(count) is not int or not 0 <= count * kind.make() <= storage_bytes[key]:
        raise ValueError(f"storage {key} is shorter than it says")
    return count


def _check_tensor(storage: int, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> None:
    """Check a tensor; `storage` is the number of elements that `_storage` has returned."""
    check_bounds(storage, offset, size, stride)


def _return_none(*_: Any) -> None:
    return None


def _item_bytes(size: int) -> Callable[[], int]:
    return lambda: size


_NAMES: Names = {
    ("torch._utils", "_rebuild_tensor_v2"): _check_tensor,
    **{("torch", name): _item_bytes(dtype.itemsize) for name, dtype in STORAGE_DTYPES.items()},
    **{("torch.jit._pickle", f"build_{kind}list"): _return_none for kind in ("int", "double", "bool", "tensor")},
    ("torch.jit._pickle", "restore_type_tag"): _return_none,
}
