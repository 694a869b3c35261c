"""Commands in processes that are forked from this one, which has imported them: quick to start, easy to harm."""

import contextlib
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
LIMIT = 900.0  # seconds that a command may take


@dataclass
class Command:
    """A command that runs, in a group of processes of its own.

    Attributes:
        pid: process.
        output: file with what it writes to stdout and stderr.
        started: time when it was started.
        code: exit code; that of a signal is negative, None while it runs.
    """

    pid: int
    output: Path
    started: float
    code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, seconds: float = LIMIT) -> int | None:
        """Wait for the end; return the exit code, or None when it still runs after that time."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        return self.code

    def kill(self) -> None:
        """Kill the process alone, not those that it has started, and wait for its end."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def text(self) -> str:
        """Return what the command has written."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    @property
    def has_traceback(self) -> bool:
        """Whether an error was not told as a sentence."""
        return "Traceback" in self.text()

    def last_line(self) -> str:
        """Return the last line of its output."""
        lines = self.text().strip().splitlines()
        return lines[-1] if lines else ""


def start(arguments: list[str], output: Path, prepare: Callable[[], None] = lambda: None) -> Command:
    """Run `python ARGUMENTS` in a fork of this process, after `prepare()` there."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become(arguments, output, prepare)
    return Command(pid, output, started)


def finish(arguments: list[str], output: Path, prepare: Callable[[], None] = lambda: None) -> Command:
    """Run a command to its end; one that does not come to it is killed."""
    command = start(arguments, output, prepare)
    command.wait()
    command.kill()
    return command


def _become(arguments: list[str], output: Path, prepare: Callable[[], None]) -> None:
    code = 1
    try:
        os.setsid()
        os.chdir(ROOT)
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.argv = arguments
        prepare()
        runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
