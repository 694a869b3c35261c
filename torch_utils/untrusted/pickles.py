"""Read pickles as data: no class or function that a pickle names is imported, and the allowed names are a closed list.

A pickle is a program for a small stack machine. This is that machine without its dangerous parts: names are looked up
only in a table of functions that make plain containers, tensors and records.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dnnlib.errors import UserError
from torch_utils.untrusted import arrays, tensors
from torch_utils.untrusted.opcodes import ReadableBytes, opcodes_of

Names = Mapping[tuple[str, str], Callable]  # (module, name) -> function that is called instead

_VALUES = frozenset(
    {
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("INT", "LONG", "FLOAT", "UNICODE"),  # opcodes of protocol 0
    }
)
_TEXTS_OF_PYTHON_2 = ("STRING", "BINSTRING", "SHORT_BINSTRING")  # bytes, which the disassembler shows as text
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PER_ITEM = 100  # approximate bytes of an item of a container


@dataclass(eq=False, repr=False)
class Record:
    """An object whose class is not imported.

    Attributes:
        name: name of the class, MODULE.CLASS.
        args: arguments of the call that makes the object.
        state: state that is set after the call.
    """

    name: str
    args: tuple = ()
    state: Any = None

    def set_state(self, state: Any) -> None:
        """Keep the state."""
        self.state = state


class Budget:
    """Number of bytes that the objects of a file may still take, beside those in its opcodes."""

    def __init__(self, left: int):
        self.left = left

    def spend(self, count: int) -> None:
        """Subtract `count`; raise UserError when the file needs more memory than it has content."""
        self.left -= count
        if self.left < 0:
            raise UserError("expands to more than it holds; it is not opened")


@dataclass(frozen=True, eq=False)
class _Name:
    """A name in the table, on the stack of the machine."""

    make: Callable


def records(*names: tuple[str, str]) -> dict[tuple[str, str], Callable]:
    """Return a table that maps each (module, class) to a function that makes a `Record`."""
    return {name: functools.partial(_record, ".".join(name)) for name in names}


def dict_like(*names: tuple[str, str]) -> dict[tuple[str, str], Callable]:
    """Return a table for classes derived from dict: each (module, class) makes an empty dict."""
    return dict.fromkeys(names, _empty_dict)


def read_pickle(
    content: bytes | ReadableBytes,
    names: Names,
    budget: Budget,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """Return the object in a pickle: plain values, containers, tensors, `Record`, `PickledArray`.

    Args:
        content: pickle, see `opcodes_of`.
        names: names that the pickle may contain beside those of containers, numpy's arrays and torch's tensors.
        budget: limit of the memory for the file.
        persistent_load: function that returns the object of a persistent id; None allows no such ids.

    Raises UserError, a sentence without its subject, for a pickle with other names, and for a damaged one.
    """
    machine = _Machine({**_common(budget), **names}, persistent_load)
    try:
        return machine.run(opcodes_of(content, _ALLOWED))
    except UserError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError("is damaged", "copy or download it again") from error


class _Machine:
    """The stack machine; `_STEPS` maps opcodes to its methods."""

    def __init__(self, names: Names, persistent_load: Callable[[Any], Any] | None):
        self.names = names
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # stacks below the marks
        self.memo: dict[int, Any] = {}

    def run(self, opcodes: Iterable[tuple[str, Any]]) -> Any:
        """Execute (name, argument) of each opcode; return the object on the stack."""
        for name, argument in opcodes:
            if name in _VALUES:
                self.stack.append(_CONSTANTS.get(name, argument))
            elif name in _TEXTS_OF_PYTHON_2:
                self.stack.append(argument.encode("latin1"))
            elif name == "STOP":
                break
            else:
                _STEPS[name](self, argument)
        (content,) = self.stack
        return content

    def skip(self, _: Any) -> None:
        pass

    def mark(self, _: Any) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """Remove the objects above the last mark from the stack and return them."""
        items, self.stack = self.stack, self.outer.pop()
        return items

    def new(self, kind: type) -> None:
        self.stack.append(kind())

    def tuple_of(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) != count:
            raise ValueError("too few objects")
        self.stack[-count:] = [tuple(items)]

    def tuple_since_mark(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append(tuple(items))

    def list_since_mark(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append(items)

    def dict_since_mark(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append({})
        _update(self.stack[-1], items)

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _update(self.stack[-1], [key, value])

    def set_items(self, _: Any) -> None:
        items = self.since_mark()
        _update(self.stack[-1], items)

    def append(self, _: Any) -> None:
        value = self.stack.pop()
        _list(self.stack[-1]).append(value)

    def extend(self, _: Any) -> None:
        items = self.since_mark()
        _list(self.stack[-1]).extend(items)

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def find(self, module: str, name: str) -> None:
        if (module, name) not in self.names:
            refused = ascii(f"{module}.{name}")[1:-1][:120]
            raise UserError(f"asks for `{refused}`, which plain data never need; it is not opened")
        self.stack.append(_Name(self.names[module, name]))

    def find_global(self, argument: str) -> None:
        module, name = argument.split(" ", 1)
        self.find(module, name)

    def find_stacked(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self.find(module, name)

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of something else than a name")
        self.stack.append(function.make(*arguments))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], dict):  # a dict's attributes say nothing about networks
            self.stack[-1].set_state(state)

    def load_persistent(self, _: Any) -> None:
        if self.persistent_load is None:
            raise ValueError("a persistent id")
        self.stack.append(self.persistent_load(self.stack.pop()))


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.skip,
    "FRAME": _Machine.skip,
    "MARK": _Machine.mark,
    "GLOBAL": _Machine.find_global,
    "STACK_GLOBAL": _Machine.find_stacked,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.load_persistent,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_DICT": lambda machine, _: machine.new(dict),
    "EMPTY_LIST": lambda machine, _: machine.new(list),
    "EMPTY_SET": lambda machine, _: machine.new(list),
    "EMPTY_TUPLE": lambda machine, _: machine.new(tuple),
    "TUPLE": _Machine.tuple_since_mark,
    "LIST": _Machine.list_since_mark,
    "DICT": _Machine.dict_since_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "ADDITEMS": _Machine.extend,
}
_ALLOWED = _VALUES | _STEPS.keys() | {*_TEXTS_OF_PYTHON_2, "STOP"}


def _record(name: str, *arguments: Any) -> Record:
    return Record(name, arguments)


def _empty_dict() -> dict:
    return {}


def _update(target: Any, items: list[Any]) -> None:
    """Set alternating keys and values of a dict; keys are texts or small numbers, whose hashes are cheap."""
    if not isinstance(target, dict) or len(items) % 2:
        raise ValueError("items of something else than a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | bytes) and not (type(key) in (int, bool) and abs(key) < 1 << 32):
            raise ValueError("a key that is neither text nor a small number")
        target[key] = value


def _list(target: Any) -> list:
    """Return `target`; raise ValueError unless it is a list."""
    if not isinstance(target, list):
        raise ValueError("items of something else than a list")
    return target


def _common(budget: Budget) -> dict[tuple[str, str], Callable]:
    """Return the names that any file of tensors may contain."""

    def make_dict(items: Any = ()) -> dict:
        pairs = list(items.items() if isinstance(items, dict) else items)
        budget.spend(_PER_ITEM * len(pairs))
        result: dict = {}
        for key, value in pairs:
            _update(result, [key, value])
        return result

    def encode(text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise ValueError("bytes as other text than latin1")
        budget.spend(len(text))
        return text.encode("latin1")

    def parameter(tensor: Any, *_: Any) -> Any:
        return tensor

    def unchanged(values: Any = ()) -> Any:
        return values  # sets stay lists, and torch.Size a tuple

    builtins = {(module, "set"): unchanged for module in ("builtins", "__builtin__")}
    return {
        ("collections", "OrderedDict"): make_dict,
        ("_codecs", "encode"): encode,
        ("torch", "Size"): unchanged,
        ("torch._utils", "_rebuild_tensor_v2"): tensors.view,
        ("torch._utils", "_rebuild_parameter"): parameter,
        **builtins,
        **records(("torch", "device"), ("argparse", "Namespace"), ("pathlib", "PosixPath")),
        **arrays.NAMES,
    }
