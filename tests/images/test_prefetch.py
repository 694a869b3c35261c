"""Batches on their way to the device, and how long it waits for them; CUDA is played by stand-ins."""

import contextlib

import pytest
import torch

from images.datasets.batches import Batch
from images.datasets.input_wait import InputWait
from images.datasets.prefetch import on_device

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class Recorded:
    """A tensor that notes what happens to it."""

    def __init__(self, name, events):
        self.name, self.events = name, events

    def to(self, device, non_blocking=False):
        self.events.append(("copy", self.name, FakeCuda.active, device, non_blocking))
        return Recorded(f"{self.name}'", self.events)

    def record_stream(self, stream):
        self.events.append(("in use", self.name, stream.name))


class FakeStream:
    def __init__(self, name, events):
        self.name, self.events = name, events

    def wait_stream(self, other):
        self.events.append(("wait", self.name, other.name))


class FakeCuda:
    """Notes which stream is active."""

    active = "training"


@pytest.fixture
def events(monkeypatch):
    """Put stand-ins in the place of CUDA's streams; return the list of what happens."""
    events = []

    @contextlib.contextmanager
    def activated(stream):
        FakeCuda.active = stream.name
        yield
        FakeCuda.active = "training"

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream("copies", events))
    monkeypatch.setattr(torch.cuda, "stream", activated)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: FakeStream("training", events))
    return events


def test_on_a_cpu_batches_pass_as_they_are():
    given = [Batch(torch.zeros(1), None, torch.zeros(1)) for _ in range(3)]
    passed = list(on_device(given, CPU))
    assert all(a is b for a, b in zip(passed, given, strict=True))


@pytest.mark.parametrize("degraded", [True, False])
def test_each_batch_is_copied_beside_the_step_and_awaited_before_use(events, degraded):
    names = ["images", "degraded", "labels"] if degraded else ["images", "labels"]
    parts = {name: Recorded(name, events) if name in names else None for name in ("images", "degraded", "labels")}
    plans = None if degraded else [()]
    moved = list(on_device([Batch(**parts, plans=plans)] * 2, CUDA))
    once = [("copy", name, "copies", CUDA, True) for name in sorted(names)]
    waits = [("wait", "training", "copies")]
    used = [("in use", f"{name}'", "training") for name in names]
    half = len(events) // 2
    assert events[:half] == events[half:]
    assert sorted(events[: len(once)]) == once and events[len(once) : half] == waits + used
    assert [batch.images.name for batch in moved] == ["images'"] * 2 and (moved[0].degraded is None) != degraded
    assert all(batch.plans is plans for batch in moved)


def test_no_batch_is_asked_for_before_the_step_that_precedes_it(events):
    """The host would wait for it without having given the device anything to do."""
    asked = []

    def batches():
        for number in range(3):
            asked.append(number)
            yield Batch(Recorded("images", events), None, Recorded("labels", events))

    for number, _ in enumerate(on_device(batches(), CUDA)):
        assert asked == list(range(number + 1))


# InputWait.


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(device, delays, step, clock):
    """Take steps of `step` seconds on items that come after `delays`; return the share of waiting."""

    def items():
        for delay in delays:
            clock.now += delay
            yield delay

    wait = InputWait(device, clock)
    for _ in wait.measure(items()):
        clock.now += step
    return wait.waited_fraction


def test_the_share_is_what_waiting_takes_of_the_time():
    assert run(CPU, [100, 1, 1, 1], 3, Clock()) == pytest.approx(3 / 15)  # the first item does not count
    assert run(CPU, [5, 0, 0], 3, Clock()) == 0
    assert run(CPU, [], 3, Clock()) == 0


def test_after_a_restart_it_counts_anew():
    clock = Clock()
    wait = InputWait(CPU, clock)
    wait.waited = 4.0
    clock.now = 8.0
    assert wait.waited_fraction == 0.5
    wait.restart()
    assert wait.waited_fraction == 0
    clock.now = 9.0
    assert wait.waited_fraction == 0


@pytest.mark.parametrize("idle", [True, False])
def test_a_gpu_that_works_meanwhile_does_not_wait(monkeypatch, idle):
    class Stream:
        def record_event(self):
            return type("Event", (), {"query": lambda self: idle})()

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    assert run(CUDA, [0, 1, 1], 1, Clock()) == pytest.approx(2 / 5 if idle else 0)
