"""Processes for tests, which are warm: they begin with torch and the program imported.

A warm process is forked from a server that has done no more than import: it is a fork of the tests' own process from
before the first test. That saves the seconds in which a fresh one imports torch, and is as clean, since no test has run
in it. Command lines are executed as `python ARGUMENTS` would.
"""

import contextlib
import dataclasses
import faulthandler
import functools
import importlib
import itertools
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.multiprocessing

from tests.support.runs import ROOT
from torch_utils import distributed

PRELOADED = ["tests.conftest", "tests.support.small", "train"]
PRELOADED += ["evaluation.snapshots", "torch._dynamo", "torch.utils.tensorboard"]  # what a run imports later


def fork_server() -> None:
    """Let the server of warm processes be a fork of this process, in which no test has run yet.

    Libraries of GPUs and of macOS do not survive a fork; there the server stays a fresh interpreter.
    """
    if sys.platform == "darwin" or torch.cuda.is_available():
        return
    warm_context()
    for name in PRELOADED:
        importlib.import_module(name)
    multiprocessing.resource_tracker.ensure_running()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing.util, "spawnv_passfds", _fork)
        multiprocessing.forkserver.ensure_running()


def _fork(program: object, arguments: list[str], descriptors: list[int]) -> int:
    """Do in a fork what `python ARGUMENTS` would, with these descriptors and the standard ones; return its number."""
    if pid := os.fork():
        return pid
    try:
        faulthandler.disable()  # its file is closed below
        kept = [2, *sorted(descriptors), os.sysconf("SC_OPEN_MAX")]
        for before, after in itertools.pairwise(kept):
            os.closerange(before + 1, after)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))  # pytest's go elsewhere
        multiprocessing.forkserver._forkserver._lock = threading.Lock()  # which the tests' process holds
        exec(arguments[-1], {})
    finally:
        os._exit(0)


@functools.cache
def warm_context() -> multiprocessing.context.ForkServerContext:
    """Return the context of `multiprocessing` in which processes are warm."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def run_distributed(
    function: Callable[..., None], processes: int, *arguments: Any, timeout: float = distributed.TIMEOUT
) -> None:
    """Call `function(world, *arguments)` as `distributed.run` does, on the CPU, in warm processes."""
    with warm_starts():
        distributed.run(function, processes, "cpu", *arguments, timeout=timeout)


@contextlib.contextmanager
def warm_starts() -> Iterator[None]:
    """Let the processes that the program starts be warm."""
    warm_context()
    with _starting_processes_by("forkserver"):
        yield


@contextlib.contextmanager
def _starting_processes_by(method: str) -> Iterator[None]:
    """Let the program start processes by another method than "spawn"."""
    get_context = torch.multiprocessing.get_context
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.multiprocessing, "get_context", lambda name=None: get_context(method if name == "spawn" else name)
        )
        yield


class WarmProcess:
    """A command line in a warm process and a group of its own; used as a `subprocess.Popen` whose streams are text."""

    def __init__(self, arguments: list[str]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.outputs = [Path(self.folder.name) / name for name in ("stdout", "stderr")]
        for path in self.outputs:
            path.touch()
        self.process = warm_context().Process(target=_execute, args=(arguments, self.outputs))
        self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, and return what was written to stdout and stderr."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired("a warm process", timeout)
        output, errors = (path.read_text() for path in self.outputs)
        self.folder.cleanup()
        return output, errors


def _execute(arguments: list[str], outputs: list[Path]) -> None:
    """Become `python ARGUMENTS`.

    Processes that it starts, as torchrun too, are forked from it: it has imported everything, and computed nothing.
    """
    os.setsid()
    os.chdir(ROOT)
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    with _starting_processes_by("fork"), pytest.MonkeyPatch.context() as patch:
        from torch.distributed.launcher import api

        patch.setattr(api, "elastic_launch", functools.partial(_launch_forks, api.elastic_launch))
        _run(*arguments)


def _run(*arguments: str) -> None:
    """Run a file or, after `-m`, a module with the rest as its command line."""
    if arguments[0] == "-m":
        sys.argv = [*arguments[1:]]
        name = arguments[1]
        main = f"{name}.__main__" if hasattr(sys.modules.get(name), "__path__") else name
        sys.modules.pop(main, None)  # which collecting the tests may have imported
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [*arguments]
        runpy.run_path(arguments[0], run_name="__main__")


def _launch_forks(launch: Callable[..., Any], config: Any, entrypoint: str) -> Any:
    """Launch processes as torchrun does, by its own function, with forks in place of `python -u FILE`."""
    assert entrypoint == sys.executable, entrypoint
    return launch(dataclasses.replace(config, start_method="fork"), lambda _, *arguments: _run(*arguments))


def start(arguments: list[Any]) -> WarmProcess:
    """Start `python FILE ...` or `python -m MODULE ...` at the root of the project, in a warm process."""
    return WarmProcess([str(argument) for argument in arguments])


def in_fork(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return `function(*arguments)` as computed in a fork of this process, which limits and signals do not reach."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: sender.send(function(*arguments)))
    child.start()
    sender.close()
    try:
        assert receiver.poll(60), "the fork does not end"
        return receiver.recv()
    except EOFError:
        child.join()
        raise AssertionError(f"the fork has ended with {child.exitcode}") from None
    finally:
        child.kill()
        child.join()


def finish(process: WarmProcess) -> tuple[int, str, str]:
    """Wait for a process; return its exit code, stdout and stderr."""
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors
