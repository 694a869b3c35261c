"""Distributed runs: one process a GPU, started here or by torchrun."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import tqdm
from torch import Tensor

from dnnlib.errors import UserError, as_user_error


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

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, by rank: `[N, ...]` in each becomes `[size * N, ...]` in all."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def any(self, flag: bool) -> bool:
        """Return whether `flag` holds in any process."""
        return flag if self.size == 1 else self.sum(torch.tensor(float(flag), device=self.device)).item() > 0

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


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
    return int(os.environ["WORLD_SIZE"]) if _under_torchrun() else gpus


def run(function: Callable[..., None], gpus: int, device: str | None, *arguments: Any) -> None:
    """Call `function(world, *arguments)` in every process.

    Under torchrun this process joins the others; otherwise `gpus` processes are started on this machine. A UserError in
    any of them is raised here.
    """
    kind = best_device(device)
    if kind.type == "cuda" and not _under_torchrun() and gpus > torch.cuda.device_count():
        raise UserError(f"--gpus={gpus} but this machine has {torch.cuda.device_count()}; use as many or fewer")
    if kind.type == "mps" and planned_processes(gpus) > 1:
        raise UserError(f"--gpus={gpus} but a Mac's GPU takes one process; use --gpus=1 or --device=cpu")
    if kind.index is not None and planned_processes(gpus) > 1:
        raise UserError(f"--device={device} names one GPU for {planned_processes(gpus)} processes; use --device=cuda")
    if _under_torchrun():
        _join(function, kind, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), None, arguments)
    elif gpus == 1:
        if kind.index is not None:  # otherwise the current device is used
            torch.cuda.set_device(kind)
        function(World(0, 1, kind), *arguments)
    else:
        _start(function, kind, gpus, arguments)


def _under_torchrun() -> bool:
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"} <= os.environ.keys()


def _start(function: Callable[..., None], kind: torch.device, gpus: int, arguments: Sequence[Any]) -> None:
    """Start `gpus` processes and wait for them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // gpus)))
    errors = mp.get_context("spawn").SimpleQueue()
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # errors are shown as one sentence
    processes = mp.spawn(_run_spawned, args=(function, kind, gpus, address, errors, arguments), nprocs=gpus, join=False)
    try:
        with _forward_signals(processes.pids()):
            while not processes.join():
                pass
    except (mp.ProcessExitedException, mp.ProcessRaisedException):  # from the process that ended first
        if not errors.empty():
            raise UserError(errors.get()) from None
        raise


@contextlib.contextmanager
def _forward_signals(pids: Sequence[int]) -> Iterator[None]:
    """Forward SIGINT and SIGTERM to the child processes, which save and stop by themselves."""

    def forward(number: int, _: FrameType | None) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.kill(pid, number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _run_spawned(
    rank: int,
    function: Callable[..., None],
    kind: torch.device,
    gpus: int,
    address: str,
    errors: Any,  # multiprocessing's SimpleQueue of texts
    arguments: Sequence[Any],
) -> None:
    """Call `function` in a process that `_start` has started."""
    os.environ["LOCAL_RANK"] = str(rank)
    tqdm.tqdm.set_lock(threading.RLock())  # its default lock is a system semaphore, which _leave would leave behind

    def report_errors(*everything: Any) -> None:
        """Call `function`; its error is sent before the others notice that this process has left the group."""
        try:
            function(*everything)
        except Exception as error:
            if (sentence := as_user_error(error)) is not None:
                errors.put(str(sentence))
                _leave(1)
            raise

    _join(report_errors, kind, rank, gpus, address, arguments)
    _leave(0)


def _join(
    function: Callable[..., None],
    kind: torch.device,
    rank: int,
    size: int,
    address: str | None,
    arguments: Sequence[Any],
) -> None:
    """Join the process group, call `function`, and leave the group."""
    device = kind
    if kind.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if kind.type == "cuda" else "gloo",
        init_method=address or "env://",
        rank=rank,
        world_size=size,
        device_id=device if kind.type == "cuda" else None,
    )
    function(World(rank, size, device), *arguments)
    # Only after success: a process that has failed would wait here for others that are waiting for it.
    dist.destroy_process_group()


def _leave(code: int) -> None:
    """End the process without interpreter shutdown, during which gloo's threads sometimes abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
