"""Curves of runs: what is read of them, which are drawn, and figures of one and several."""

import json

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from training.plot.__main__ import main
from training.plot.curves import Curve, chosen, curves_of, labels
from training.plot.figure import FEW, average


def write_run(folder, count=3):
    folder.mkdir(parents=True)
    lines = [
        {"images_seen": 1000 * n, "time": 5.0, "Loss/G/sharp": n / 2, "Resources/gb": 1.0} for n in range(1, count)
    ]
    (folder / "stats.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "torn")
    metric = {"images_seen": 2000, "quality": "sharp", "values": {"fd8_cifar": 12.5, "broken": None}}
    (folder / "metric-fd8_cifar.jsonl").write_text(f"{json.dumps(metric)}\n{json.dumps({**metric, 'values': 3})}\n")
    return folder


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_curves_are_the_numbers_of_the_run(tmp_path):
    assert curves_of(write_run(tmp_path / "a")) == {
        "Loss/G/sharp": Curve([1.0, 2.0], [0.5, 1.0]),
        "Resources/gb": Curve([1.0, 2.0], [1.0, 1.0]),
        "fd8_cifar sharp": Curve([2.0], [12.5]),
    }


def test_what_is_drawn_unless_it_is_said(tmp_path):
    runs = {"a": curves_of(write_run(tmp_path / "a"))}
    assert chosen(runs, []) == ["Loss/G/sharp", "fd8_cifar sharp"]
    assert chosen(runs, ["Res*", "fd8*"]) == ["Resources/gb", "fd8_cifar sharp"]


def test_labels_are_as_short_as_they_can_be(tmp_path):
    assert labels(["runs/base", "runs/qc"]) == ["base", "qc"]
    assert labels(["one/base", "two/base"]) == ["one/base", "two/base"]


def test_long_curves_are_averaged_and_short_ones_are_not():
    assert average([1.0, 5.0, 3.0]).tolist() == [1, 5, 3]
    long = average(np.arange(4 * FEW))
    np.testing.assert_allclose(long[2:-2], np.arange(4 * FEW)[2:-2])
    assert long[0] == 1.0  # of 0, 1 and 2


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_a_figure_has_a_panel_a_curve_and_a_line_a_run(tmp_path, ending):
    pytest.importorskip("matplotlib")
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", count=2 * FEW)]
    figure = tmp_path / f"curves{ending}"
    result = run(*runs, "-o", figure)
    assert result.exit_code == 0 and result.output == f"{figure}: 2 curves of 2 runs\n"
    if ending == ".svg":
        assert figure.read_text().startswith("<?xml")
    else:
        assert PIL.Image.open(figure).size == (1012, 319)


@pytest.mark.parametrize(
    ("runs", "extra", "sentence"),
    [
        (["a"], ["-o", "x.gif"], "the figure x.gif does not end in .png, .svg, .pdf; name it x.png"),
        (["none"], ["-o", "x.png"], "run none does not exist; check the path"),
        (
            ["empty"],
            ["-o", "x.png"],
            "empty holds no stats.jsonl with numbers in it; give the --outdir of a run that has ",
        ),
        (
            ["a"],
            ["-o", "x.png", "--only=Los"],
            "no curve is called Los; these are there: Loss/G/sharp, Resources/gb, fd8",
        ),
    ],
)
def test_wrong_use_is_a_sentence(tmp_path, monkeypatch, runs, extra, sentence):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    result = run(*runs, *extra)
    assert result.exit_code != 0 and result.stderr.startswith(f"Error: {sentence}"), result.output
    assert not (tmp_path / "x.png").exists()


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    result = run(write_run(tmp_path / "a"), "-o", tmp_path / "x.png")
    assert result.stderr == "Error: figures need matplotlib, which is not installed; pip install 'qc-stylegan[plot]'\n"
