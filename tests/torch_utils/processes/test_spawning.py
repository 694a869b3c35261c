"""Processes of one run: when one is killed, hangs or fails, all end, and one sentence says why."""

import os
import signal
import time

import pytest
import torch

from dnnlib.errors import UserError
from dnnlib.running.stop import StopNow, StopRequest
from tests.support.processes import run_distributed
from tests.torch_utils.test_device import META
from torch_utils import distributed
from torch_utils.distributed import LostProcessError, World
from torch_utils.processes import spawning


@pytest.fixture(autouse=True)
def grace(monkeypatch):
    monkeypatch.setattr(spawning, "GRACE", 3.0)


def note(world, folder):
    """Note the process, and meet the others."""
    (folder / f"{world.rank}").write_text(str(os.getpid()))
    world.barrier()


def die(world, folder, number):
    note(world, folder)
    if world.rank == 1:
        os.kill(os.getpid(), number)
        time.sleep(60)
    world.sum(torch.zeros(1))


def stay(world, folder, number):
    """Die as above, while the first process computes something that takes long."""
    if world.is_first:
        note(world, folder)
        time.sleep(60)
    die(world, folder, number)


def assert_all_ended(folder):
    for path in folder.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)


@pytest.mark.parametrize("function", [die, stay])
def test_a_killed_process_ends_the_others(tmp_path, function):
    sentence = (
        "process 1 of 2 was ended by SIGKILL, perhaps for lack of memory; the same command continues from the last"
    )
    with pytest.raises(UserError, match=f"^{sentence} state$"):
        run_distributed(function, 2, tmp_path, signal.SIGKILL)
    assert_all_ended(tmp_path)


def test_a_process_that_hangs_is_noticed(tmp_path):
    """SIGSTOP lets it neither go on nor end."""
    with pytest.raises(
        UserError, match=r"^a process of this run has ended or does not answer \(.*\); the same command"
    ):
        run_distributed(die, 2, tmp_path, signal.SIGSTOP, timeout=2.0)
    assert_all_ended(tmp_path)


def fail(world, folder):
    note(world, folder)
    if world.rank == 1:
        os.dup2(os.open(folder.with_suffix(".err"), os.O_WRONLY | os.O_CREAT), 2)
        raise KeyError("a mistake of ours")
    world.sum(torch.zeros(1))


def test_a_mistake_of_ours_is_no_sentence_about_others(tmp_path):
    with pytest.raises(UserError, match="^process 1 failed, see above; report that as a bug$"):
        run_distributed(fail, 2, tmp_path)
    assert "KeyError: 'a mistake of ours'" in tmp_path.with_suffix(".err").read_text()
    assert_all_ended(tmp_path)


def ask_to_stop(world, folder, parent, times):
    """Send the parent signals, and wait until they come back."""
    with StopRequest() as stop:
        note(world, folder)
        for _ in range(times):
            if world.is_first:
                os.kill(parent, signal.SIGTERM)
            while stop.signal is None:
                time.sleep(0.02)
            time.sleep(1.1 * (times - 1))
        assert stop.signal == signal.SIGTERM


def test_signals_reach_all_processes(tmp_path, capfd):
    run_distributed(ask_to_stop, 2, tmp_path, os.getpid(), 1)
    assert_all_ended(tmp_path)
    assert capfd.readouterr().out.count("SIGTERM: stopping after this step or measurement") == 1


def test_a_second_signal_ends_all_processes(tmp_path):
    with pytest.raises(StopNow, match="^Stopped at once by SIGTERM"):
        run_distributed(ask_to_stop, 2, tmp_path, os.getpid(), 3)
    assert_all_ended(tmp_path)


def test_exchanges_that_fail_say_that_a_process_is_lost(monkeypatch):
    def refuse(*_):
        raise RuntimeError("Connection closed\nby peer [127.0.0.1]")

    world = World(0, 2, torch.device("cpu"))
    for name in ("all_reduce", "all_gather"):
        monkeypatch.setattr(distributed.dist, name, refuse)
    for exchange in (lambda: world.sum(torch.ones(1)), lambda: world.gather(torch.ones(1)), world.barrier):
        with pytest.raises(LostProcessError, match=r"\(Connection closed by peer \[127.0.0.1\]\); the same command"):
            exchange()


def agree(world, folder):
    """Note what the processes agree on, whose devices have no values that could be waited for."""
    world = World(world.rank, world.size, META)
    flags = [(False, False), (True, False), (False, True), (True, True)]
    agreed = [world.any(flag[world.rank]) for flag in flags]
    world.barrier()
    (folder / str(world.rank)).write_text(str(agreed))


def test_processes_agree_without_their_devices(tmp_path):
    run_distributed(agree, 2, tmp_path)
    assert [(tmp_path / rank).read_text() for rank in "01"] == [str([False, True, True, True])] * 2


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_tensors_of_the_cpu_have_a_way_of_their_own(monkeypatch, kind):
    """Beside that of the GPUs, in the same group."""
    calls = []
    monkeypatch.setattr(distributed, "process_device", lambda kind: torch.device(kind.type, 1))
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda backend, **given: calls.append((backend, given)))
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: None)
    distributed.join(1, calls.append, torch.device(kind), 2, "tcp://", 5.0, ())
    (backend, given), world = calls
    device = torch.device(kind, 1)
    expected = {"cpu": ("gloo", None), "cuda": ("cpu:gloo,cuda:nccl", device)}
    assert (backend, given["device_id"]) == expected[kind] and world == World(1, 2, device)
