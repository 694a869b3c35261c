"""Moments in names of files: no two ticks of a run share a name, and names sort by their moment."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import RunConfig, TrainConfig
from training.moments import by_moment, digits_needed, moment_name
from training.run_directory import RunDirectory


@pytest.mark.parametrize(
    ("kimg", "tick", "batch", "digits"),
    [
        (25_000, 4, 32, 0),
        (18, 1, 8, 0),
        (18, 1, 48, 0),
        (18.5, 1, 8, 1),
        (25, 0.25, 8, 1),
        (0.04, 0.01, 2, 2),
        (0.144, 0.016, 8, 3),
        (2, 0.001, 1, 3),
        (100, 1.3, 700, 1),
    ],
)
def test_names_have_as_many_digits_as_ticks_need(kimg, tick, batch, digits):
    assert digits_needed(kimg, tick, batch) == digits


@given(st.integers(1, 60), st.integers(1, 4000), st.integers(1, 40_000))
def test_no_two_ticks_have_one_name(batch, tick, total):
    digits = digits_needed(total / 1000, tick / 1000, batch)
    length = max(batch, int(tick / 1000 * 1000))
    seen = range(batch, int(total / 1000 * 1000) + batch, batch)
    ends = [n for n in seen if n // length != (n - batch) // length or n == seen[-1]]
    names = [moment_name(n, digits) for n in ends]
    assert len(set(names)) == len(names) and sorted(names) == names


@pytest.mark.parametrize(
    ("images", "digits", "name"),
    [(0, 0, "000000"), (12_345, 0, "000012"), (12_345, 1, "000012.3"), (12_345, 3, "000012.345"), (5, 2, "000000.00")],
)
def test_moments_are_cut_not_rounded(images, digits, name):
    assert moment_name(images, digits) == name


def test_files_sort_by_their_moment_whatever_their_digits(tmp_path):
    names = ["000001", "000001.25", "000001.5", "000002", "000010.125", "000011"]
    directory = RunDirectory(tmp_path)
    for name in names:
        (tmp_path / f"network-snapshot-{name}.safetensors").write_bytes(b"")
    found = [path.name for path in directory.ownership.numbered_networks()]
    assert found == [f"network-snapshot-{name}.safetensors" for name in names]
    assert by_moment(Path("network-snapshot-best.safetensors")) == 0
    directory.prune_networks(2, lambda line: None)
    assert len(list(tmp_path.iterdir())) == 2 and (tmp_path / f"network-snapshot-{names[-1]}.safetensors").exists()


def test_a_directory_names_by_its_configuration(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.name_by(TrainConfig(batch=2, run=RunConfig(kimg=0.04, kimg_per_tick=0.01)))
    assert directory.network_path(38).name == "network-snapshot-000000.03.safetensors"
