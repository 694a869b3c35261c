"""Shared by the tests of training: configurations of tiny runs."""

import pytest

from tests.support.runs import tiny_config


@pytest.fixture
def config(run_files):
    """Return a function that makes the configuration of a run in a mode, with changes."""
    data, base = run_files
    return lambda mode="qc", **changes: tiny_config(data, base if mode == "qc" else None, **changes)
