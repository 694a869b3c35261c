"""Check the pickled objects within TorchScript files, by going through them with stand-ins for everything."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping

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
        content: of `data.pkl` or `constants.pkl`.
        defined: qualified names of the classes that the file has the source of.
        storage_bytes: how much there is of each storage; no tensor may reach beyond, which torch does not look at.
    """
    try:
        for _ in opcodes_of(content, _OPCODES.split()):
            pass
        _StandIns(io.BytesIO(content), defined, storage_bytes).load()
    except UserError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError("is damaged; copy or download it again") from error


class _StandIns(pickle.Unpickler):
    """Reads a pickle with inert objects in place of all that it names."""

    def __init__(self, file, defined, storage_bytes):
        super().__init__(file)
        self.defined, self.storage_bytes = defined, storage_bytes

    def find_class(self, module: str, name: str):
        if f"{module}.{name}" in self.defined:
            return _Module
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name].itemsize
        if (module, name) not in _FUNCTIONS:
            raise UserError(f"asks for `{module}.{name}`, which no plain network needs; it is not opened")
        return _FUNCTIONS[module, name]

    def persistent_load(self, pid: tuple) -> int:
        """Return the number of elements of a storage."""
        _, item_bytes, key, _, count = pid
        if not 0 <= count * item_bytes <= self.storage_bytes[key]:
            raise ValueError(f"storage {key} is shorter than it says")
        return count


class _Module:
    """Stands for any object whose class the file defines."""

    def __setstate__(self, state):
        pass


def _check_tensor(storage, offset, size, stride, *_):
    check_bounds(storage, offset, size, stride)


def _inert(*_):
    return None


_FUNCTIONS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _check_tensor,
    **{("torch.jit._pickle", f"build_{kind}list"): _inert for kind in ("int", "double", "bool", "tensor")},
    ("torch.jit._pickle", "restore_type_tag"): _inert,
}
