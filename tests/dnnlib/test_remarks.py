"""Remarks: said once, by the first process of a command."""

import logging

import pytest

from dnnlib.remarks import forget, go_on, remark, told


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_remark_is_made_once(said):
    for text in ("a", "a", "100 % of %s", "a"):
        remark(text)
    assert said() == ["a", "100 % of %s"] and told() == {"a", "100 % of %s"}


def test_another_process_goes_on_with_the_remarks_of_the_first(said):
    go_on({"a"})
    for text in ("a", "b"):
        remark(text)
    assert said() == ["b"]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_processes_the_first_one_speaks(said, monkeypatch, rank):
    monkeypatch.setenv("RANK", rank)
    remark("a")
    assert said() == ["a"] * (rank == "0")


def test_silent_processes_say_nothing(said):
    go_on(is_silent=True)
    remark("a")
    assert said() == [] and not told()
    forget()
    remark("a")
    assert said() == ["a"]
