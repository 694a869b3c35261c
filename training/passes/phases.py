"""The phases of a step: run operation by operation, or as one CUDA graph each.

A phase is its passes with all derivatives, augmentation, penalties, and the step of the optimizer. As a graph the host
starts it as one, which is worth most where the share of a GPU is a few images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from torch_utils.seeding import derive_seed
from training.passes import graphed
from training.passes.graphed import Capture, Replay, Structure, split

Key = Callable[[], Sequence[int]]  # integers that identify random numbers in the present step
Note = tuple[Callable[..., None], tuple[Any, ...]]


class Phases(Protocol):
    """How phases are run, and what they may do besides computing with tensors in place."""

    def run(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a phase, trees of tensors and constants; the phase is known by its name."""
        ...

    def generator(self, key: Key) -> torch.Generator | None:
        """Return a source of random numbers for this phase, seeded by the key; None: the caller makes it."""
        ...

    def note(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function that the host needs each time, as one that counts; some of its arguments are tensors."""
        ...


class EagerPhases:
    """Phases operation by operation."""

    def run(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the phase."""
        return function(*arguments)

    def generator(self, key: Key) -> torch.Generator | None:
        """Return nothing: each phase makes its own."""
        return None

    def note(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call the function."""
        function(*arguments)


@dataclass
class _Recorded:
    """A phase that is going to be replayed, or is.

    Attributes:
        warm_ups: how often it has run so far, operation by operation.
        keys: keys of its random numbers, in the order of their use.
        generators: their sources.
        structure: structure of its arguments.
        inputs: memory that it reads its arguments from.
        replay: runs it again; None: it has not been recorded.
        result: what it returned, in memory that the next replay writes to.
        notes: what the host does afterwards, with tensors in such memory.
    """

    warm_ups: int = 0
    keys: list[Key] = field(default_factory=list)
    generators: list[torch.Generator] = field(default_factory=list)
    structure: Structure | None = None
    inputs: list[Tensor] = field(default_factory=list)
    replay: Replay | None = None
    result: Any = None
    notes: list[Note] = field(default_factory=list)


class GraphedPhases:
    """Phases as CUDA graphs, of a run with one process.

    The first calls of a phase are steps like others, beside the current stream, in which kernels are compiled and
    algorithms are chosen; then it is recorded, and replayed from then on. What a phase changes it changes in place, its
    arguments always have the same shapes, and its results last until the next step: phases share the memory that they
    compute in, where a result stays free of those that come after it in a step.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._phases: dict[str, _Recorded] = {}
        self._capture: Capture | None = None
        self._current: _Recorded | None = None
        self._handed_out = 0  # generators that the phase that runs has asked for
        self._notes: list[Note] | None = None  # those of the phase that is being recorded

    def run(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run the phase for the first times, record it, or replay it."""
        phase = self._phases.setdefault(name, _Recorded())
        if phase.warm_ups < graphed.WARM_UPS:
            return self._warm_up(phase, function, arguments)
        structure, tensors = split(arguments)
        if phase.replay is None:
            phase.structure, phase.inputs = structure, [tensor.clone() for tensor in tensors]
            phase.generators = [torch.Generator(self.device) for _ in phase.keys]
            self._seed(phase)
            self._record(phase, function)
        assert structure == phase.structure, f"phase {name} is called as {structure}, not as {phase.structure}"
        assert phase.replay is not None, f"phase {name} is recorded"
        torch._foreach_copy_(phase.inputs, tensors)
        self._seed(phase)
        phase.replay()
        self._take(phase.notes)
        return phase.result

    def generator(self, key: Key) -> torch.Generator | None:
        """Return the next source of the phase that is being recorded; None elsewhere."""
        phase = self._current
        if phase is None:
            return None
        self._handed_out += 1
        if self._notes is None:
            phase.keys = [*phase.keys[: self._handed_out - 1], key]
            return None
        return phase.generators[self._handed_out - 1]

    def note(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call the function, or keep it for each replay."""
        if self._notes is None:
            function(*arguments)
        else:
            self._notes.append((function, arguments))

    def _warm_up(self, phase: _Recorded, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        phase.warm_ups += 1
        return graphed.beside(self.device, lambda: self._call(phase, function, arguments))

    def _record(self, phase: _Recorded, function: Callable[..., Any]) -> None:
        assert phase.structure is not None, "a phase is recorded for arguments"
        arguments = phase.structure.fill(phase.inputs)

        def recorded() -> tuple[Any, list[Note]]:
            self._notes = []
            try:
                return self._call(phase, function, arguments), self._notes
            finally:
                self._notes = None

        self._capture = self._capture or graphed.capture_on(self.device)
        phase.replay, (phase.result, phase.notes) = self._capture(recorded, phase.generators)

    def _call(self, phase: _Recorded, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self._current, self._handed_out = phase, 0
        try:
            return function(*arguments)
        finally:
            self._current = None

    def _take(self, notes: list[Note]) -> None:
        """Do what the host does after a replay, with copies, since the next replay writes to the tensors' memory."""
        structure, tensors = split([arguments for _, arguments in notes])
        copies = structure.fill(list(torch._foreach_mul(tensors, 1.0)) if tensors else [])
        for (function, _), arguments in zip(notes, copies, strict=True):
            function(*arguments)

    def _seed(self, phase: _Recorded) -> None:
        for generator, key in zip(phase.generators, phase.keys, strict=True):
            generator.manual_seed(derive_seed(*key()))
