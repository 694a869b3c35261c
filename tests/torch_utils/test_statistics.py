"""Sums of scalars, statistics and histograms: the same bits whenever they are read, by few launches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_utils.histograms import BINS, REACH, Histograms
from torch_utils.scalar_sums import ScalarSums
from torch_utils.stats import Statistics

CPU = torch.device("cpu")
REPORTS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e3, 1e3, width=32), st.booleans()), max_size=30)


@settings(max_examples=25)
@given(REPORTS)
def test_scalars_are_added_one_after_the_other(reports):
    """Whenever the sums are read in between; they come in the order of their names' first scalars."""
    sums, expected = ScalarSums(), {}
    for name, value, is_read in reports:
        sums.add(name, torch.tensor(value))
        expected[name] = expected.get(name, torch.zeros([])) + torch.tensor(value)
        if is_read:
            assert sums.read() == expected
    assert list(sums.read().items()) == list(expected.items())


@settings(max_examples=25)
@given(REPORTS)
def test_statistics_continue_from_what_was_saved(reports):
    """At any point, to the bit."""
    straight, resumed = Statistics(CPU), Statistics(CPU)
    for name, value, is_saved in reports:
        for each in (straight, resumed):
            each.report(name, torch.tensor([value, 0.1]))
        if is_saved:
            state, resumed = resumed.state_dict(), Statistics(CPU)
            resumed.load_state_dict(state)
    state = straight.state_dict()
    assert state.keys() == {name for name, *_ in reports}
    assert all(torch.equal(value, state[name]) for name, value in resumed.state_dict().items())
    assert resumed.read() == straight.read() and straight.read() == straight.state_dict() == {}


def test_one_scalar_that_is_not_finite_spoils_its_own_sum():
    sums = ScalarSums(factor=0.0)
    for name, value in [("good", 3e38), ("bad", float("inf")), ("good", 3e38), ("bad", 1.0)]:
        sums.add(name, torch.tensor(value))
    assert {name: total.isnan().item() for name, total in sums.read().items()} == {"good": False, "bad": True}
    with pytest.raises(AssertionError, match=r"good is torch.float32 \[1\]"):
        sums.add("good", torch.zeros(1))


def test_reports_of_a_step_are_added_by_one_launch(monkeypatch):
    """When the next step begins, or when they are read."""
    launches, add = [], torch._foreach_add
    monkeypatch.setattr(
        torch, "_foreach_add", lambda *args, **kwargs: launches.append(len(args[0])) or add(*args, **kwargs)
    )
    statistics = Statistics(CPU)
    for step in range(3):
        for name in "abcdefgh":
            statistics.report(name, torch.ones([]))
        assert launches == [8] * step
    assert statistics.read() == dict.fromkeys("abcdefgh", 1.0) and launches == [8] * 3


@settings(max_examples=25)
@given(st.lists(st.floats(width=32), min_size=1, max_size=30))
def test_each_value_is_counted_between_its_edges(values):
    scores = Histograms(CPU)
    scores.report("s", torch.tensor(values))
    result = scores.read()["s"]
    inner = [0.0 if value != value else min(max(value, -REACH), REACH - 0.1) for value in values]
    counted = [(result.edges[:-1] <= value) & (value < result.edges[1:]) for value in inner]
    assert len(result.counts) == BINS and (sum(each.astype(int) for each in counted) == result.counts).all()
