"""The loop of training runs: what it calls at ticks, at the end and on a signal."""

import os
import signal
from dataclasses import dataclass

import pytest

from dnnlib.errors import UserError
from dnnlib.running.log import RunLog
from torch_utils.distributed import LostProcessError
from training.run_loop import Run, RunLoop


@dataclass(frozen=True)
class Intervals:
    kimg: float = 0.012
    kimg_per_tick: float = 0.004
    image_ticks: int = 2
    snapshot_ticks: int = 2
    state_ticks: int = 1


class NotedRun(Run):
    """A run of batches of two images that notes what is called."""

    def __init__(self, images_seen=0, reports_snapshots=False, signal_at=None):
        self.seen, self.reports_snapshots, self.signal_at = images_seen, reports_snapshots, signal_at
        self.calls = []

    @property
    def images_seen(self):
        return self.seen

    def batches(self):
        while True:
            yield self.seen

    def step(self, batch):
        assert batch == self.seen
        self.seen += 2
        self.calls.append(self.seen)
        if self.seen == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def save_network(self):
        self.calls.append("network")
        return f"network-{self.seen}"

    def note(name):  # noqa: N805 - makes the methods below
        return lambda self: self.calls.append(name)

    begin, require_finite, report_tick = note("begin"), note("finite"), note("report")
    draw, save_state, report_snapshot, end_tick = note("draw"), note("state"), note("evaluate"), note("end")


def start(run, folder, is_resumed=False, notes=(), **intervals):
    """Run the loop, and return the lines of its log."""
    log = RunLog(folder / "log.txt")
    RunLoop(run, 2, Intervals(**intervals), log).start(is_resumed, notes)
    log.close()
    return (folder / "log.txt").read_text().splitlines()


TICK = ["finite", "report"]
END = ["finite", "draw", "network", "state", "evaluate"]


def test_ticks_report_draw_and_save_in_order(tmp_path):
    run = NotedRun()
    assert start(run, tmp_path) == ["Done: network-12"]
    first, second = [2, 4, *TICK, "state", "end"], [6, 8, *TICK, "draw", "network", "state", "evaluate", "end"]
    assert run.calls == ["begin", "draw", *first, *second, 10, 12, *TICK, "end", *END]


@pytest.mark.parametrize("reports", [False, True])
def test_the_state_is_saved_before_a_snapshot_is_measured(tmp_path, reports):
    run = NotedRun(reports_snapshots=reports)
    start(run, tmp_path, state_ticks=5)
    between = run.calls[run.calls.index("network") + 1 : run.calls.index("evaluate")]
    assert between == (["state"] if reports else [])


def test_a_signal_ends_the_run_after_its_step(tmp_path):
    run = NotedRun(signal_at=6)
    [line] = start(run, tmp_path)
    assert line == "Stopped by SIGTERM at 0.0 kimg; everything is saved, the same command continues"
    assert run.calls[-3:] == [6, "finite", "state"]


def test_a_continued_run_takes_the_steps_that_are_left(tmp_path):
    run = NotedRun(images_seen=8)
    assert start(run, tmp_path, is_resumed=True, notes=["a change"]) == [
        "Continuing at 0.0 kimg; a change",
        "Done: network-12",
    ]
    assert run.calls == [10, 12, *TICK, "end", *END]


def test_a_run_that_has_its_length_does_nothing(tmp_path):
    run = NotedRun(images_seen=12)
    lines = start(run, tmp_path, is_resumed=True)
    assert lines == ["Continuing at 0.0 kimg", "Nothing to do: the run has its 0.012 kimg; raise --kimg"]
    assert run.calls == []


def test_a_tick_is_at_least_a_batch(tmp_path):
    run = NotedRun()
    start(run, tmp_path, kimg_per_tick=0.0001)
    assert run.calls.count("report") == 6


class Stop(NotedRun):
    """A run that gets a signal where `signal_in` says."""

    signal_in = ""

    def begin(self):
        super().begin()
        self.send("begin")

    def report_snapshot(self):
        super().report_snapshot()
        self.send("evaluate")

    def make_up_snapshot(self):
        self.calls.append("make up")
        self.send("make up")

    def send(self, place):
        if place == self.signal_in:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_while_a_run_begins_saves_its_beginning(tmp_path, capfd):
    run = Stop()
    run.signal_in = "begin"
    [line] = start(run, tmp_path)
    assert line.startswith("Stopped by SIGTERM at 0.0 kimg; everything is saved")
    assert run.calls == ["begin", "draw", "finite", "state"]
    assert "SIGTERM: stopping after the start; a second signal ends" in capfd.readouterr().out


def test_a_signal_during_a_measurement_is_announced_then(tmp_path, capfd):
    run = Stop(reports_snapshots=True)
    run.signal_in = "evaluate"
    [line] = start(run, tmp_path)
    assert line.startswith("Stopped by SIGTERM") and run.seen == 8
    assert "SIGTERM: stopping after this measurement;" in capfd.readouterr().out


@pytest.mark.parametrize("images_seen", [8, 12])
def test_a_continued_run_first_makes_up_for_a_measurement(tmp_path, images_seen):
    """Also one that has its length already."""
    run = Stop(images_seen=images_seen)
    start(run, tmp_path, is_resumed=True)
    assert run.calls[0] == "make up" and ("network" in run.calls) == (images_seen == 8)


class Failing(NotedRun):
    """A run that fails after 6 images, in a step or between two of them."""

    def __init__(self, place, error):
        super().__init__()
        self.place, self.error = place, error

    def batches(self):
        for batch in super().batches():
            self.fail("batches")
            yield batch

    def step(self, batch):
        self.fail("step")
        super().step(batch)

    def rescue(self):
        self.calls.append("rescue")

    def fail(self, place):
        if (place, self.seen) == (self.place, 6):
            raise self.error


@pytest.mark.parametrize(
    ("place", "error", "rescues"),
    [
        ("batches", UserError("a bad image"), 1),
        ("step", LostProcessError("it ended"), 1),
        ("step", UserError("NaN"), 0),
    ],
)
def test_what_was_learned_before_an_error_elsewhere_is_rescued(tmp_path, place, error, rescues):
    run = Failing(place, error)
    with pytest.raises(UserError, match=str(error)):
        start(run, tmp_path)
    assert run.calls.count("rescue") == rescues and "finite" not in run.calls[-2:]
