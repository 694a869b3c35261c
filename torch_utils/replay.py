"""Replays: a function of tensors is recorded as the operations that it calls, and from then on these alone are called.

What depends on its inputs is called again. Everything else, such as a weight scaled or laid out anew, is computed once.
Python's share of a small network's time falls away as well. The operations are the very ones, or convolutions by
weights that are laid out for them (`ops.convolutions.resting`), so results keep their bits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torch_utils.ops.convolutions import resting

Tensors = tuple[Tensor | None, ...]
Function = Callable[..., Tensors]


class UnrepeatableError(Exception):
    """What a function does cannot be replayed: it draws numbers, or decides by values."""


class Program:
    """The operations of one call, on a list of values: inputs first, constants and results behind them.

    A step is an operation, the places of its arguments, the place of its result or a list of such, and the places of
    values that nobody needs after it.
    """

    def __init__(self, inputs: Sequence[Tensor | None]):
        self.values: list[Any] = list(inputs)
        self.steps: list[tuple[Callable[..., Any], Callable[[list[Any]], Any], int | list[int], list[int]]] = []
        self.outputs: list[int] = []

    def __call__(self, inputs: Sequence[Tensor | None]) -> Tensors:
        """Return what the function gives for other inputs of the same kinds."""
        values = self.values.copy()
        values[: len(inputs)] = inputs
        for operation, arguments, places, dead in self.steps:
            result = operation(*arguments(values))
            if isinstance(places, int):
                values[places] = result
            else:
                for place, one in zip(places, result, strict=True):
                    values[place] = one
            for place in dead:
                values[place] = None
        return tuple(values[place] for place in self.outputs)


class _Recorder(TorchDispatchMode):
    """Writes a program while a function runs."""

    def __init__(self, inputs: Sequence[Tensor | None]):
        super().__init__()
        self.program = Program(inputs)
        # Places of tensors that follow from the inputs, by identity, for the sake of which `alive` keeps them all.
        self.places = {id(tensor): place for place, tensor in enumerate(inputs) if tensor is not None}
        self.alive: list[Any] = []
        self.lists: set[int] = set()  # places of lists of such tensors
        self.uses: list[set[int]] = []  # places that each step reads or writes

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return whether torch imports its compiler, for a second, only to keep it from this class."""
        return False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UnrepeatableError(f"{func} draws numbers")
        result = func(*args, **kwargs)
        self.alive.append(result)
        if any(id(leaf) in self.places for leaf in tree_leaves((args, kwargs))):
            if not all(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
                raise UnrepeatableError(f"{func} gives no tensor")
            self._write(func, args, kwargs, result)
        return result

    def finish(self, outputs: Tensors) -> Program:
        """Return the program with these outputs, which forgets values as soon as it can and holds none of its own."""
        program = self.program
        program.outputs = [self._place(output) for output in outputs]
        kept, last = set(program.outputs), {place: step for step, used in enumerate(self.uses) for place in used}
        computed = {*self.places.values(), *self.lists}
        for place, step in last.items():
            if place in computed and place not in kept:
                program.steps[step][3].append(place)
        for place in computed:
            program.values[place] = None
        return program

    def _write(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if func is resting.convolution and not any(id(one) in self.places for one in args[1:]):
            func, args = resting.laid_out(args)
        names = tuple(kwargs)
        arguments = [self._place(argument) for argument in (*args, *kwargs.values())]
        places = [self._place_of_result(one) for one in result] if isinstance(result, (list, tuple)) else None
        written = self._place_of_result(result) if places is None else places
        self._step(_with_names(func, names) if names else func, arguments, written)

    def _step(self, operation: Callable[..., Any], arguments: list[int], result: int | list[int]) -> None:
        self.program.steps.append((operation, _getter(arguments), result, []))
        self.uses.append({*arguments, *([result] if isinstance(result, int) else result)})

    def _place(self, value: Any) -> int:
        """Return where a value is found: a tensor that follows from the inputs, a list of some, or a constant."""
        if id(value) in self.places:
            return self.places[id(value)]
        if isinstance(value, (list, tuple)) and any(id(one) in self.places for one in value):
            places = [self._place(one) for one in value]
            place = self._new_place()
            self.lists.add(place)
            self._step(_as_list, places, place)
            return place
        self.alive.append(value)
        self.program.values.append(value)
        return len(self.program.values) - 1

    def _place_of_result(self, tensor: Tensor) -> int:
        """Return a new place, or where the tensor lies already that an operation in place has changed."""
        if id(tensor) not in self.places:
            self.places[id(tensor)] = self._new_place()
        return self.places[id(tensor)]

    def _new_place(self) -> int:
        self.program.values.append(None)
        return len(self.program.values) - 1


class Replayed:
    """A function that is recorded after some calls with inputs of a kind, and replayed from then on.

    It is replayed on a CPU, and where no gradient is wanted; else, and where it cannot be recorded, it is called.

    Args:
        function: function of tensors, or None, that returns a tuple of such; it has no other input but `weights`.
        weights: all tensors that it uses besides. When one has been written to, recordings are made anew; they
            must not be replaced by others.
        calls_before: calls of a kind before it is recorded.
    """

    def __init__(self, function: Function, weights: Iterable[Tensor], calls_before: int = 1):
        self.function = function
        self.weights = list(weights)
        self.calls_before = calls_before
        self._programs: dict[tuple, Program] = {}  # by kind
        self._calls: Counter[tuple] = Counter()  # before a kind is recorded
        self._unrepeatable: set[tuple] = set()
        self._version: list[int] = []

    def __call__(self, *inputs: Tensor | None) -> Tensors:
        """Return what the function returns, in tensors of its own."""
        if torch.is_grad_enabled() or any(each is not None and each.device.type != "cpu" for each in inputs):
            return self.function(*inputs)
        version = [number for weight in self.weights for number in (weight._version, weight.data_ptr())]
        if version != self._version:
            self._programs, self._calls, self._version = {}, Counter(), version
        kind = tuple(None if each is None else (each.shape, each.stride(), each.dtype) for each in inputs)
        program = self._programs.get(kind)
        if program is not None:
            return _replay(program, inputs)
        if self._calls[kind] < self.calls_before or kind in self._unrepeatable:
            self._calls[kind] += 1
            return self.function(*inputs)
        return self._record(kind, inputs)

    def _record(self, kind: tuple, inputs: Tensors) -> Tensors:
        # No two inputs may be the same tensor, or a weight: in another call they are different ones.
        inputs = tuple(None if each is None else each.detach() for each in inputs)
        recorder = _Recorder(inputs)
        try:
            with recorder:
                outputs = self.function(*inputs)
        except UnrepeatableError:
            self._unrepeatable.add(kind)
            return self.function(*inputs)
        self._programs[kind] = recorder.finish(outputs)
        return outputs


def _replay(program: Program, inputs: Tensors) -> Tensors:
    """Run a program without autograd's bookkeeping; what it returns may be used in any way."""
    with torch.inference_mode():
        outputs = program(inputs)
    return tuple(output.clone() if output is not None and output.is_inference() else output for output in outputs)


def _getter(places: list[int]) -> Callable[[list[Any]], Any]:
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1)) if places else lambda values: ()


def _as_list(*values: Any) -> list[Any]:
    return list(values)


def _with_names(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """Return a function whose last arguments have these names."""

    def call(*values: Any) -> Any:
        first = len(values) - len(names)
        return function(*values[:first], **dict(zip(names, values[first:], strict=True)))

    return call
