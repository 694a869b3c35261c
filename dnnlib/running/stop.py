"""Requests to stop (SIGTERM, SIGINT), from the user or a cluster's scheduler."""

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Ctrl-C, `timeout` and schedulers may deliver one request twice: to the process and to its group. A signal that comes
# later than that, in seconds, is a second request.
ONE_REQUEST = 1.0
STDOUT = 1


class StopNow(KeyboardInterrupt):
    """A second request to stop; it ends the program wherever that is."""

    def __init__(self, number: int):
        super().__init__(f"Stopped at once by {signal.Signals(number).name}; what was saved last is whole")
        self.exit_code = 128 + number


class StopRequest:
    """Records SIGTERM and SIGINT within a `with` statement, so that a run can save before it ends.

    The first signal is announced at once, a second one raises StopNow. Within another request's `with` statement,
    `with` gives that one: signals belong to the whole process. In other threads than the main one nothing is recorded.

    Attributes:
        signal: number of the first signal, or None.
        is_repeated: whether there was a second one.
        stops_after: what is finished first, for the announcement.
        is_unfinished: whether work was left for later because of it.
        forward_to: processes that get each signal too; where there are any, a second one raises nothing here.
    """

    def __init__(self, is_silent: bool = False) -> None:
        self.signal: int | None = None
        self.is_repeated = False
        self.stops_after = "the start"
        self.is_unfinished = False
        self.forward_to: Sequence[int] = ()
        self._is_silent = is_silent
        self._time = 0.0
        self._process = 0
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        outer = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if isinstance(outer, StopRequest) and outer._process == os.getpid():  # not that from before a fork
            return outer
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            for number in SIGNALS:
                self._previous_handlers[number] = signal.signal(number, self._record)
            if hasattr(signal, "pthread_sigmask"):  # whoever has started this process may have held them back
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """Exit code of a command that the signal has stopped before its end: 130 or 143, as of one that it has killed.

        A scheduler's next job, or a shell's next command, then does not begin on half of the work.
        """
        return 128 + (signal.SIGTERM if self.signal is None else self.signal)

    @property
    def name(self) -> str:
        """Name of the signal; `a signal` in a process that has not received it itself."""
        return "a signal" if self.signal is None else signal.Signals(self.signal).name

    def _record(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:  # a fork that has no handlers of its own yet
            return
        self._forward(number)
        if self.signal is None:
            self.signal = number
            self._time = time.monotonic()
            self._announce()
        elif time.monotonic() - self._time > ONE_REQUEST:
            self.is_repeated = True
            if not self.forward_to:
                raise StopNow(number)

    def _forward(self, number: int) -> None:
        for pid in self.forward_to:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.kill(pid, number)

    def _announce(self) -> None:
        """Write to the console past Python's buffers, which may be in use by what the signal has interrupted."""
        if not self._is_silent:
            line = f"{self.name}: stopping after {self.stops_after}; a second signal ends the program at once\n"
            with contextlib.suppress(OSError):
                os.write(STDOUT, line.encode())


def stoppable(command: Callable[..., Any]) -> Callable[..., Any]:
    """Record requests to stop from the first line of a command on, before it imports what it needs.

    A command that has left work for later ends with the request's exit code. Of torchrun's processes the first one
    announces requests.
    """

    @functools.wraps(command)
    def recording(*args: Any, **kwargs: Any) -> Any:
        with StopRequest(is_silent=os.environ.get("RANK", "0") != "0") as stop:
            result = command(*args, **kwargs)
        if stop.is_unfinished:
            sys.exit(stop.exit_code)
        return result

    return recording
