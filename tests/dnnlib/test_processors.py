"""How many processors a command takes for its own."""

import os

from dnnlib.running.processors import usable_processors


def test_processors_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert usable_processors() == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert usable_processors() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_processors() == 1
