"""Distributed runs: one process a GPU, started here or by torchrun."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dnnlib.errors import UserError, one_line
from torch_utils.processes.spawning import start

TIMEOUT = 600.0  # seconds that a process waits for the others, unless told otherwise
# What carries the processes' tensors, by the kind of their devices. What lies on the CPU does not go by way of a GPU,
# where it would wait for all that has been launched.
BACKENDS = {"cpu": "gloo", "mps": "gloo", "cuda": "cpu:gloo,cuda:nccl"}


class LostProcessError(UserError):
    """Another process of the run has ended, or does not answer."""


@contextlib.contextmanager
def with_others() -> Iterator[None]:
    """Turn the errors of an exchange with the other processes into a LostProcessError."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[\S+\] ", "", one_line(error)).partition(". ")[0]  # without gloo's place and advice
        raise LostProcessError(
            f"a process of this run has ended or does not answer ({reason})", "the same command continues"
        ) from error


@dataclass(frozen=True)
class World:
    """This process among all processes of a run.

    Attributes:
        rank: number of this process.
        size: number of processes.
        device: device of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which writes the files."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """Return this process's rows of so many, which all processes share equally."""
        assert count % self.size == 0, f"{count} rows of {self.size} processes"
        own = count // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; it lies on their devices, or on the CPU in all of them."""
        if self.size == 1:
            return value
        value = value.clone()
        with with_others():
            dist.all_reduce(value)
        return value

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, by rank: `[N, ...]` in each becomes `[size * N, ...]` in all."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        with with_others():
            dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def any(self, flag: bool) -> bool:
        """Return whether `flag` holds in any process; the processors agree on it, and no device is waited for."""
        return flag if self.size == 1 else self.sum(torch.tensor(float(flag))).item() > 0

    def barrier(self) -> None:
        """Wait for all processes, and for no device."""
        self.any(False)


def best_device(name: str | None = None) -> torch.device:
    """Return the device called `name`, or the best available one: CUDA, else MPS, else CPU."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    available: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    try:
        device = torch.device(name)
        is_available = available[device.type]
    except (RuntimeError, KeyError):
        raise UserError(f"unknown device '{name}'; try cuda, mps or cpu") from None
    if not is_available() or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"--device={name} is not available here; try --device=cpu")
    return device


def planned_processes(gpus: int) -> int:
    """Return the number of processes of a run: that of torchrun where it has started this process, else `gpus`."""
    return int(os.environ["WORLD_SIZE"]) if is_under_torchrun() else gpus


def is_first_process() -> bool:
    """Return whether this is the only process so far, or the first of torchrun's."""
    return not is_under_torchrun() or int(os.environ["RANK"]) == 0


def run(
    function: Callable[..., None], gpus: int, device: str | None, *arguments: Any, timeout: float = TIMEOUT
) -> None:
    """Call `function(world, *arguments)` in every process.

    Under torchrun this process joins the others; otherwise `gpus` processes are started on this machine. A UserError in
    any of them is raised here, and so is the death of one. A process that waits longer than `timeout` seconds for
    another raises LostProcessError.
    """
    kind = require_devices(gpus, device)
    if is_under_torchrun():
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        join(rank, function, kind, size, None, timeout, arguments)
    elif gpus == 1:
        if kind.index is not None:  # otherwise the current device is used
            torch.cuda.set_device(kind)
        function(World(0, 1, kind), *arguments)
    else:
        start(join, gpus, lambda address: (function, kind, gpus, address, timeout, arguments))


def require_devices(gpus: int, device: str | None) -> torch.device:
    """Return the kind of device of `gpus` processes; raise UserError unless each of them can have one.

    Several processes share a CPU only where that is asked for: whoever asks for GPUs alone, and has none, would wait
    hundreds of times as long.
    """
    kind = best_device(device)
    processes = planned_processes(gpus)
    if kind.type == "cuda" and not is_under_torchrun() and gpus > torch.cuda.device_count():
        raise UserError(f"--gpus={gpus} but this machine has {torch.cuda.device_count()}; use as many or fewer")
    if kind.type == "cpu" and device is None and processes > 1:
        cure = "--device=cpu" if is_under_torchrun() else f"--device=cpu --processes={gpus}"
        raise UserError(f"{processes} processes are to use GPUs, and this machine has none; write {cure}")
    if kind.type == "mps" and processes > 1:
        raise UserError(f"--gpus={gpus} but a Mac's GPU takes one process; use --gpus=1 or --device=cpu")
    if kind.index is not None and processes > 1:
        raise UserError(f"--device={device} names one GPU for {processes} processes; use --device=cuda")
    return kind


def process_device(kind: torch.device) -> torch.device:
    """Return this process's device of a kind, which it uses from now on: of several GPUs that of its local rank."""
    if kind.type != "cuda":
        return kind
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def is_under_torchrun() -> bool:
    """Return whether torchrun has started this process, beside others."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"} <= os.environ.keys()


def join(
    rank: int,
    function: Callable[..., None],
    kind: torch.device,
    size: int,
    address: str | None,
    timeout: float,
    arguments: Sequence[Any],
) -> None:
    """Join the process group, call `function`, and leave the group."""
    device = process_device(kind)
    with with_others():
        dist.init_process_group(
            BACKENDS[kind.type],
            init_method=address or "env://",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=timeout),
            device_id=device if kind.type == "cuda" else None,
        )
    function(World(rank, size, device), *arguments)
    # Only after success: a process that has failed would wait here for others that are waiting for it.
    dist.destroy_process_group()
