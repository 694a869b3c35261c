"""Read pickles as data: nothing that a pickle names is imported or called, and what it may name is a closed list.

A pickle is a program for a small machine. This is that machine without its dangerous parts: names are looked up in a
table of functions that make plain containers, tensors and records, and nowhere else.
"""

import functools
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dnnlib.errors import UserError
from torch_utils.untrusted import arrays, tensors
from torch_utils.untrusted.opcodes import opcodes_of

Names = Mapping[tuple[str, str], Callable]

_VALUES = frozenset(
    {
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PER_ITEM = 100  # bytes that an item of a container takes, about


@dataclass(eq=False, repr=False)
class Record:
    """An object whose class is not imported: what it is called, what it was made from, and its state."""

    name: str  # as MODULE.CLASS
    args: tuple = ()
    state: Any = None

    def set_state(self, state: Any) -> None:
        self.state = state


class Budget:
    """How many bytes a file may still make beyond those that its opcodes hold."""

    def __init__(self, left: int):
        self.left = left

    def spend(self, count: int) -> None:
        """Raise UserError where a file asks for more memory than it has content."""
        self.left -= count
        if self.left < 0:
            raise UserError("expands to more than it holds; it is not opened")


@dataclass(frozen=True, eq=False)
class _Name:
    """A name from the table, on the machine's stack."""

    make: Callable


def records(*names: tuple[str, str]) -> dict[tuple[str, str], Callable]:
    """Return a table in which each (module, class) makes a `Record`."""
    return {name: functools.partial(_record, ".".join(name)) for name in names}


def dict_like(*names: tuple[str, str]) -> dict[tuple[str, str], Callable]:
    """Return a table in which each (module, class), a class derived from dict, makes an empty dict."""
    return dict.fromkeys(names, _empty_dict)


def read_pickle(
    content: bytes | mmap.mmap,
    names: Names,
    budget: Budget,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """Return what a pickle holds: plain values, containers, tensors, `Record`, `InertArray`.

    Args:
        content: see `opcodes_of`.
        names: by (module, name) what the pickle may ask for beside containers, numpy's arrays and torch's tensors.
        budget: of the file.
        persistent_load: makes something of a persistent id; None: there are none.

    Raises UserError, a sentence without its subject, for a pickle that asks for anything else, and for a damaged one.
    """
    machine = _Machine({**_common(budget), **names}, persistent_load)
    try:
        return machine.run(opcodes_of(content, _ALLOWED))
    except UserError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError("is damaged; copy or download it again") from error


class _Machine:
    def __init__(self, names, persistent_load):
        self.names, self.persistent_load = names, persistent_load
        self.stack, self.outer, self.memo = [], [], {}

    def run(self, opcodes):
        for name, argument in opcodes:
            if name in _VALUES:
                self.stack.append(_CONSTANTS.get(name, argument))
            elif name == "STOP":
                break
            else:
                _STEPS[name](self, argument)
        (content,) = self.stack
        return content

    def skip(self, _):
        pass

    def mark(self, _):
        self.outer.append(self.stack)
        self.stack = []

    def since_mark(self):
        items, self.stack = self.stack, self.outer.pop()
        return items

    def new(self, kind):
        self.stack.append(kind())

    def tuple_of(self, count):
        items = self.stack[-count:]
        if len(items) != count:
            raise ValueError("too few objects")
        self.stack[-count:] = [tuple(items)]

    def tuple_since_mark(self, _):
        items = self.since_mark()
        self.stack.append(tuple(items))

    def set_item(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        _update(self.stack[-1], [key, value])

    def set_items(self, _):
        items = self.since_mark()
        _update(self.stack[-1], items)

    def append(self, _):
        value = self.stack.pop()
        _list(self.stack[-1]).append(value)

    def extend(self, _):
        items = self.since_mark()
        _list(self.stack[-1]).extend(items)

    def put(self, index):
        self.memo[index] = self.stack[-1]

    def memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index):
        self.stack.append(self.memo[index])

    def find(self, module, name):
        if (module, name) not in self.names:
            asked = ascii(f"{module}.{name}")[1:-1][:120]
            raise UserError(f"asks for `{asked}`, which no published network needs; it is not opened")
        self.stack.append(_Name(self.names[module, name]))

    def find_global(self, argument):
        self.find(*argument.split(" ", 1))

    def find_stacked(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self.find(module, name)

    def call(self, _):
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of something else than a name")
        self.stack.append(function.make(*arguments))

    def build(self, _):
        state = self.stack.pop()
        if not isinstance(self.stack[-1], dict):  # a dict's attributes say nothing about networks
            self.stack[-1].set_state(state)

    def load_persistent(self, _):
        if self.persistent_load is None:
            raise ValueError("a persistent id")
        self.stack.append(self.persistent_load(self.stack.pop()))


_STEPS = {
    "PROTO": _Machine.skip,
    "FRAME": _Machine.skip,
    "MARK": _Machine.mark,
    "GLOBAL": _Machine.find_global,
    "STACK_GLOBAL": _Machine.find_stacked,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.load_persistent,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_DICT": lambda machine, _: machine.new(dict),
    "EMPTY_LIST": lambda machine, _: machine.new(list),
    "EMPTY_SET": lambda machine, _: machine.new(list),
    "EMPTY_TUPLE": lambda machine, _: machine.new(tuple),
    "TUPLE": _Machine.tuple_since_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "ADDITEMS": _Machine.extend,
}
_ALLOWED = _VALUES | _STEPS.keys() | {"STOP"}


def _record(name, *arguments):
    return Record(name, arguments)


def _empty_dict():
    return {}


def _update(target, items):
    """Set keys and values that follow each other. Keys are those whose hash costs the same for each."""
    if not isinstance(target, dict) or len(items) % 2:
        raise ValueError("items of something else than a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str) and not (type(key) in (int, bool) and abs(key) < 1 << 32):
            raise ValueError("a key that is neither text nor a small number")
        target[key] = value


def _list(target):
    if not isinstance(target, list):
        raise ValueError("items of something else than a list")
    return target


def _common(budget):
    """Return the names that any file of tensors may ask for."""

    def make_dict(items=()):
        items = list(items.items() if isinstance(items, dict) else items)
        budget.spend(_PER_ITEM * len(items))
        made = {}
        for key, value in items:
            _update(made, [key, value])
        return made

    def encode(text, encoding):
        if encoding != "latin1":
            raise ValueError("bytes as other text than latin1")
        budget.spend(len(text))
        return text.encode("latin1")

    def parameter(tensor, *_):
        return tensor

    def items(values=()):
        return values  # sets stay lists, and torch.Size a tuple

    builtins = {(module, "set"): items for module in ("builtins", "__builtin__")}
    return {
        ("collections", "OrderedDict"): make_dict,
        ("_codecs", "encode"): encode,
        ("torch", "Size"): items,
        ("torch._utils", "_rebuild_tensor_v2"): tensors.view,
        ("torch._utils", "_rebuild_parameter"): parameter,
        **builtins,
        **records(("torch", "device"), ("argparse", "Namespace"), ("pathlib", "PosixPath")),
        **arrays.NAMES,
    }
