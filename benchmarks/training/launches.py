"""Time of calls as the device spends it: a GPU replays them from a graph, so that the host's time is left out."""

import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from benchmarks.machine import seconds

CALLS = 100  # most calls in one measurement
LONG_ENOUGH = {"cuda": 0.01}  # seconds of one measurement; slow calls are made less often
LONG_ENOUGH_ELSEWHERE = 0.05
REPEATS = 5  # measurements, of which the median counts
L2_SIZE = 60 * 2**20  # bytes, where torch doesn't tell

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Timing:
    """How long a call takes.

    Attributes:
        seconds: seconds of one call among several in a row.
        bytes: size of what a call reads and writes, each tensor once.
        how: `graph` (replayed), `events` (launched one by one, the host's time included) or `clock` (no GPU).
    """

    seconds: float
    bytes: int
    how: Literal["graph", "events", "clock"]


@torch.no_grad()
def time_calls(run: Callable[..., Tensor], inputs: Inputs, device: torch.device, capture: bool = True) -> Timing:
    """Time `run(*inputs)`.

    On a GPU the calls go through several copies of small inputs, so that its L2 cache answers for as few as it can.

    Args:
        run: function of tensors that returns one tensor.
        inputs: arguments of the call, all of which it reads.
        device: device of the inputs.
        capture: whether a GPU may capture the calls in a graph; autograd's own may not be.
    """
    if device.type == "cuda":
        return _on_gpu(run, inputs, device, capture)
    moved = _bytes(*inputs, run(*inputs))
    calls = _enough(seconds(partial(run, *inputs), device, repeats=1), device)
    return Timing(seconds(partial(_in_turn, run, [inputs], calls), device, REPEATS) / calls, moved, "clock")


def _on_gpu(run: Callable[..., Tensor], inputs: Inputs, device: torch.device, capture: bool) -> Timing:
    """All is done on one side stream, as captures require."""
    stream = _side_stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        moved = _bytes(*inputs, run(*inputs))  # kernels are loaded and memory is there from now on
        calls = _enough(_by_events(partial(run, *inputs)), device)
        sets = input_sets(inputs, moved, calls, _l2_size(device))
        launch = partial(_in_turn, run, sets, calls)
        launch()
        graph = _captured(launch, stream) if capture else None
        replay = launch if graph is None else graph.replay
        replay()
        times = sorted(_by_events(replay) for _ in range(REPEATS))
        stream.synchronize()
    return Timing(times[REPEATS // 2] / calls, moved, "events" if graph is None else "graph")


def _captured(launch: Callable[[], None], stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph | None:
    """Return the graph of the launches; None where they can't be captured."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            launch()
    except RuntimeError:  # which CUDA's errors are
        return None
    return graph


def _by_events(launch: Callable[[], object]) -> float:
    """Return the seconds between two events on the current stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    launch()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def input_sets(inputs: Inputs, moved: int, calls: int, l2_size: int) -> list[Inputs]:
    """Return the inputs and as many copies as exceed the L2 cache twice, at most one set for each call."""
    if moved >= 2 * l2_size:
        return [inputs]
    count = min(calls, max(3, -(-2 * l2_size // max(moved, 1))))
    return [inputs, *(tuple(tensor.clone() for tensor in inputs) for _ in range(count - 1))]


def _in_turn(run: Callable[..., Tensor], sets: list[Inputs], calls: int) -> None:
    """Call with one set after the other; as many outputs are kept, so that they take turns in memory as well."""
    outputs: deque[Tensor] = deque(maxlen=len(sets))
    for i in range(calls):
        outputs.append(run(*sets[i % len(sets)]))


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _enough(time: float, device: torch.device) -> int:
    """Return the number of calls of `time` seconds that make a measurement."""
    return max(1, min(CALLS, int(LONG_ENOUGH.get(device.type, LONG_ENOUGH_ELSEWHERE) / max(time, 1e-9))))


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _l2_size(device: torch.device) -> int:
    return getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0) or L2_SIZE
