"""Check the pickles in TorchScript files: unpickle them with placeholders for all objects."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from dnnlib.errors import UserError
from torch_utils.untrusted.opcodes import opcodes_of
from torch_utils.untrusted.tensors import STORAGE_DTYPES, check_bounds

_OPCODES = """
PROTO STOP MARK GLOBAL NEWOBJ REDUCE BUILD BINPERSID BINPUT LONG_BINPUT BINGET LONG_BINGET
NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINSTRING
EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 SETITEM SETITEMS APPEND APPENDS
"""


def check_objects(content: bytes, defined: frozenset[str], storage_bytes: Mapping[str, int]) -> None:
    """Raise UserError, a sentence without its subject, unless a pickle holds plain containers, tensors and modules.

    Args:
        content: bytes of `data.pkl` or `constants.pkl`.
        defined: qualified names of the classes whose source is in the file.
        storage_bytes: size of each storage in bytes; tensors must stay within, which torch does not check.
    """
    try:
        for _ in opcodes_of(content, _OPCODES.split()):
            pass
        _Placeholders(io.BytesIO(content), defined, storage_bytes).load()
    except UserError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError("is damaged; copy or download it again") from error


class _Placeholders(pickle.Unpickler):
    """Unpickler with placeholders for all classes and functions that the pickle names."""

    def __init__(self, file: BinaryIO, defined: frozenset[str], storage_bytes: Mapping[str, int]):
        super().__init__(file)
        self.defined = defined
        self.storage_bytes = storage_bytes

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" in self.defined:
            return _Module
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name].itemsize
        if (module, name) not in _FUNCTIONS:
            raise UserError(f"asks for `{module}.{name}`, which no plain network needs; it is not opened")
        return _FUNCTIONS[module, name]

    def persistent_load(self, pid: Any) -> int:
        """Return the number of elements of a storage."""
        _, item_bytes, key, _, count = pid
        if not 0 <= count * item_bytes <= self.storage_bytes[key]:
            raise ValueError(f"storage {key} is shorter than it says")
        return count


class _Module:
    """Placeholder of any object whose class the file defines."""

    def __setstate__(self, state: Any) -> None:
        pass


def _check_tensor(storage: int, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> None:
    """Check a tensor; `storage` is the number of elements that `persistent_load` has returned."""
    check_bounds(storage, offset, size, stride)


def _return_none(*_: Any) -> None:
    return None


_FUNCTIONS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _check_tensor,
    **{("torch.jit._pickle", f"build_{kind}list"): _return_none for kind in ("int", "double", "bool", "tensor")},
    ("torch.jit._pickle", "restore_type_tag"): _return_none,
}
