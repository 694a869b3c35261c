"""Requests to stop: recorded and announced at once; a second one ends the program."""

import os
import signal
import threading

import click
import pytest
from click.testing import CliRunner

from dnnlib.cli import one_sentence_errors
from dnnlib.running import stop
from dnnlib.running.stop import StopNow, StopRequest, stoppable


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose last number is the time."""
    times = [100.0]
    monkeypatch.setattr(stop.time, "monotonic", lambda: times[-1])
    return times


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_recorded_and_announced(number, capfd):
    before = signal.getsignal(number)
    with StopRequest() as request:
        assert request.signal is None and request.name == "a signal"
        request.stops_after = "this measurement"
        os.kill(os.getpid(), number)
        assert request.signal == number
    name = signal.Signals(number).name
    said = f"{name}: stopping after this measurement; a second signal ends the program at once\n"
    assert capfd.readouterr().out == said
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_the_program(clock):
    """What reaches a process and its group within a moment is one request."""
    with StopRequest(is_silent=True) as request:
        os.kill(os.getpid(), signal.SIGINT)
        clock.append(100.9)
        os.kill(os.getpid(), signal.SIGTERM)
        assert not request.is_repeated
        clock.append(101.1)
        with pytest.raises(StopNow, match="^Stopped at once by SIGTERM; what was saved last is whole$"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_signals_are_passed_on(clock, monkeypatch):
    """Then the other processes decide what a second one does."""
    sent = []
    with StopRequest(is_silent=True) as request:
        request.forward_to = [1001, 1002]
        monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
        signal.raise_signal(signal.SIGTERM)
        clock.append(200.0)
        signal.raise_signal(signal.SIGINT)
    assert sent == [(pid, number) for number in (15, 2) for pid in (1001, 1002)]
    assert request.is_repeated


def test_a_request_within_another_is_the_same():
    with StopRequest(is_silent=True) as outer:
        os.kill(os.getpid(), signal.SIGTERM)
        with StopRequest() as inner:
            assert inner is outer and inner.signal == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_fork_neither_announces_nor_ends():
    with StopRequest():
        pid = os.fork()
        if pid == 0:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            with StopRequest(is_silent=True) as own:
                signal.raise_signal(signal.SIGINT)
            os._exit(own.signal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == signal.SIGINT


def test_signals_that_were_held_back_arrive():
    signal.pthread_sigmask(signal.SIG_BLOCK, stop.SIGNALS)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # another thread might take what is sent to the process
    with StopRequest(is_silent=True) as request:
        assert request.signal == signal.SIGTERM


def test_in_another_thread_nothing_is_recorded():
    results = []
    thread = threading.Thread(target=lambda: results.append(StopRequest().__enter__().signal))
    thread.start()
    thread.join()
    assert results == [None]


def test_a_command_ends_with_the_code_of_the_signal():
    @click.command()
    @one_sentence_errors
    def command():
        raise StopNow(signal.SIGTERM)

    result = CliRunner().invoke(command)
    assert (result.exit_code, result.stdout) == (143, "")
    assert result.stderr == "Stopped at once by SIGTERM; what was saved last is whole\n"


@stoppable
def command(number):
    """Is asked to stop on its first line, as if it still imported; a run within it learns that."""
    os.kill(os.getpid(), number)
    with StopRequest() as request:
        return request.signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("rank", "is_announced"), [(None, True), ("0", True), ("1", False)])
def test_requests_count_from_the_first_line_of_a_command(number, rank, is_announced, monkeypatch, capfd):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    before = signal.getsignal(number)
    assert command(number) == number
    assert ("stopping after the start" in capfd.readouterr().out.lower()) == is_announced
    assert signal.getsignal(number) == before
