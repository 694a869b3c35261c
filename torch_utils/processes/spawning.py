"""Processes that are started on this machine, and what is said and done when one of them ends badly."""

import logging
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch.multiprocessing as mp
import tqdm

from dnnlib.cli import prepare_console
from dnnlib.errors import UserError, as_user_error
from dnnlib.remarks import go_on, told
from dnnlib.running.processors import usable_processors
from dnnlib.running.stop import SIGNALS, StopNow, StopRequest

# Seconds that the others have to save and to end after one has failed; they are killed then.
GRACE = 40.0


OnDeath = Callable[[int, str], None]  # called with the rank of a process that was killed, and a sentence about it


def start(
    function: Callable[..., None],
    count: int,
    arguments: Callable[[str], tuple[Any, ...]],
    on_death: OnDeath | None = None,
) -> int | None:
    """Call `function(rank, *arguments(address))` in `count` processes, and wait for them.

    Returns the number of the signal by which they were asked to stop, and did; None without.

    Args:
        function: what they do.
        count: number of processes.
        arguments: arguments of the function, from the address where the processes meet.
        on_death: what is done about a process that was killed, where the others go on without it; None: they do not.

    Signals go to all of them. When one ends badly, the others have GRACE seconds to end as well; the error of the first
    is raised here, as a UserError where it was one or where the process was killed.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_processors() // count)))
    context = mp.get_context("spawn")
    errors = context.SimpleQueue()
    stops = context.SimpleQueue()
    address = f"tcp://127.0.0.1:{_free_port()}"
    processes = [
        context.Process(target=_call, args=(rank, function, errors, stops, arguments(address), told()))
        for rank in range(count)
    ]
    with StopRequest() as stop:
        with _signals_wait():  # also in the new processes, until they can tell what a signal asks for
            for process in processes:
                process.start()
        stop.stops_after = "this step or measurement" if on_death is None else "what is at hand"
        stop.forward_to = [process.pid for process in processes if process.pid is not None]
        if stop.signal is not None:
            _send(processes, stop.signal)
        try:
            failed = _wait(processes, stop, on_death)
        finally:
            _end(processes)
            stop.forward_to = ()
    if failed is not None:
        raise _error(failed, processes[failed].exitcode or 1, errors, count)
    stop.is_unfinished |= not stops.empty()
    return stop.signal


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold signals to stop back; processes that are started meanwhile begin with that."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(processes: list[Any], stop: StopRequest, on_death: OnDeath | None) -> int | None:
    """Wait until all have ended, or one badly and the rest have had their time; return the rank of that one."""
    failed: int | None = None
    dead: set[int] = set()
    end = float("inf")
    while running := [process for process in processes if process.exitcode is None]:
        if failed is None and stop.is_repeated:
            end = min(end, time.monotonic() + GRACE)
        if time.monotonic() > end:
            break
        multiprocessing.connection.wait([process.sentinel for process in running], timeout=1.0)
        if on_death is not None:
            _note_deaths(processes, dead, on_death)
        if failed is None:
            failed = _first_failure(processes, dead)
            if failed is not None:
                end = time.monotonic() + GRACE
    if on_death is not None:
        _note_deaths(processes, dead, on_death)
    return failed if failed is not None else _first_failure(processes, dead)


def _note_deaths(processes: list[Any], dead: set[int], on_death: OnDeath) -> None:
    """Add the ranks of processes that were killed to `dead`, and tell of them."""
    for rank, process in enumerate(processes):
        if rank not in dead and (process.exitcode or 0) < 0:
            dead.add(rank)
            on_death(rank, _killed(rank, -process.exitcode, len(processes)))


def _first_failure(processes: list[Any], forgiven: Collection[int]) -> int | None:
    """Return the rank of a process that ended badly; rather one that was killed than one that noticed it."""
    codes = {rank: process.exitcode for rank, process in enumerate(processes) if process.exitcode}
    return min(codes.keys() - set(forgiven), key=lambda rank: codes[rank], default=None)


def _send(processes: list[Any], number: int) -> None:
    for process in processes:
        if process.exitcode is None:
            os.kill(process.pid, number)


def _end(processes: list[Any]) -> None:
    for process in processes:
        if process.exitcode is None:
            process.kill()
        process.join()


def _error(rank: int, code: int, errors: Any, count: int) -> BaseException:
    """Return the error of the process that ended first."""
    if code < 0:
        return UserError(_killed(rank, -code, count), "the same command continues from the last state")
    if not errors.empty():
        return UserError(errors.get())
    if code > 128:
        return StopNow(code - 128)
    return UserError(f"process {rank} of {count} ended with code {code}", "the same command continues")


def _killed(rank: int, number: int, count: int) -> str:
    """Return what is said of a process that a signal has ended."""
    memory = ", perhaps for lack of memory" if number == signal.SIGKILL else ""
    return f"process {rank} of {count} was ended by {signal.Signals(number).name}{memory}"


def _call(
    rank: int,
    function: Callable[..., None],
    errors: Any,
    stops: Any,
    arguments: tuple[Any, ...],
    remarks: Collection[str],
) -> None:
    """Call the function in a process that `start` has started, and leave it."""
    os.environ["LOCAL_RANK"] = str(rank)
    prepare_console()
    go_on(remarks, is_silent=rank > 0)
    tqdm.tqdm.set_lock(threading.RLock())  # its default lock is a system semaphore, which _leave would leave behind
    with StopRequest(is_silent=True) as stop:  # from here on signals arrive
        _follow_parent()
        try:
            function(rank, *arguments)
        except StopNow as at_once:
            _leave(at_once.exit_code)
        except Exception as error:
            sentence = as_user_error(error)
            if sentence is None:
                logging.exception("process %s", rank)
                sentence = UserError(f"process {rank} failed, see above", "report that as a bug")
            errors.put(str(sentence))  # before the others notice that this process has left them
            _leave(1)
    if stop.is_unfinished:
        stops.put(rank)
    _leave(0)


def _follow_parent() -> None:
    """Let this process be asked to stop when the one that has started it is killed."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def _leave(code: int) -> None:
    """End the process without interpreter shutdown, during which gloo's threads sometimes abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
