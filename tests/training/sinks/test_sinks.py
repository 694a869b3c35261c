"""Where runs are logged: TensorBoard's images and histograms, wandb, MLflow's files, what is missing or fails."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dnnlib.errors import UserError
from images.sheets import save_png
from torch_utils.histograms import BINS, Histograms
from training.report import NETWORK_TICKS, Report
from training.run_directory import RunDirectory
from training.sink import ALWAYS, SINKS, Sinks, Start, names_of, require_packages

CPU = torch.device("cpu")


def histogram():
    scores = Histograms(CPU)
    scores.report("x", torch.tensor([-30.0, 0.1, 0.2, 3.0]))
    return scores.read()["x"]


def reported(folder, sink, start=0):
    """Report what a run reports through a sink, as if it had a name of `--log`."""
    sinks = Sinks([sink], Start(folder, {"seed": 3}, start))
    save_png(folder / "fakes.png", np.full((8, 8, 3), 7, np.uint8))
    sinks.scalars({"Loss/G/sharp": 0.5 + start, "a+b": 1.0}, start + 4)
    sinks.image("fakes", folder / "fakes.png", start + 4)
    sinks.histogram("Scores/real/sharp", histogram(), start + 4)
    sinks.flush()
    sinks.close()
    return sinks


def test_histograms_count_each_value_once_and_add_up_over_processes():
    scores = Histograms(CPU)
    for values in ([-1e9, -20.0, 0.0], [0.49, 0.5, 19.99, 1e9, float("inf")]):
        scores.report("s", torch.tensor(values))
    result = scores.read(lambda counts: 2 * counts)["s"]
    assert result.counts.sum() == 16 and len(result.edges) == BINS + 1
    filled = {float(result.edges[i]): int(result.counts[i]) for i in np.flatnonzero(result.counts)}
    assert filled == {-20.0: 4, 0.0: 4, 0.5: 2, 19.5: 6}
    assert scores.read() == {}


def test_tensorboard_shows_sheets_and_histograms(tmp_path):
    report = Report(RunDirectory(tmp_path), 1.0, 0, NETWORK_TICKS)
    save_png(tmp_path / "fakes000000.4-degraded.png", np.full((8, 8, 3), 7, np.uint8))
    report.drawn([tmp_path / "fakes000000.4-degraded.png"], 4)
    report.tick(4, {"Progress/augment/sharp": 0.25}, CPU, {"Scores/real/sharp": histogram()})
    report.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["images"] == ["fakes-degraded"] and events.Tags()["histograms"] == ["Scores/real/sharp"]
    assert events.Images("fakes-degraded")[0].width == 8
    assert events.Histograms("Scores/real/sharp")[0].histogram_value.num == 4
    assert events.Scalars("Progress/augment/sharp")[0].value == 0.25


def test_mlflow_keeps_numbers_and_sheets_in_files_and_goes_on_in_its_run(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    reported(tmp_path, "mlflow")
    reported(tmp_path, "mlflow", start=4)
    (losses,) = tmp_path.glob("mlruns/*/*/metrics/Loss/G/sharp")
    assert [line.split()[1:] for line in losses.read_text().splitlines()] == [["0.5", "4"], ["4.5", "8"]]
    (run,) = [path.parent for path in tmp_path.glob("mlruns/*/*/artifacts")]
    assert (tmp_path / "mlflow-run.txt").read_text().strip() == run.name
    assert json.loads((run / "artifacts/config.json").read_text()) == {"seed": 3}
    assert (run / "artifacts/images/fakes.png").is_file()
    assert sum(json.loads((run / "artifacts/histograms/Scores/real/sharp/000000004.json").read_text())["counts"]) == 4


class FakeRun:
    def __init__(self):
        self.logged, self.is_finished = [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.is_finished = True


@pytest.fixture
def fake_wandb(monkeypatch):
    """A stand-in for the package, whose own processes take seconds to start."""
    begun = []

    def init(**options):
        begun.append((options, FakeRun()))
        return begun[-1][1]

    package = SimpleNamespace(
        init=init,
        Image=lambda path: ("image", path),
        Histogram=lambda np_histogram: ("histogram", int(sum(np_histogram[0])), len(np_histogram[1])),
        __spec__=object(),
    )
    monkeypatch.setitem(sys.modules, "wandb", package)
    return begun


def test_wandb_gets_all_and_a_continued_run_goes_on(tmp_path, fake_wandb):
    reported(tmp_path, "wandb")
    reported(tmp_path, "wandb", start=4)
    (first, run), (second, _) = fake_wandb
    assert (
        first["id"] == second["id"] == (tmp_path / "wandb-run.txt").read_text().strip() and first["resume"] == "allow"
    )
    assert first["config"] == {"seed": 3} and first["name"] == tmp_path.name and first["dir"] == str(tmp_path)
    assert run.logged == [
        (4, {"Loss/G/sharp": 0.5, "a+b": 1.0}),
        (4, {"fakes": ("image", str(tmp_path / "fakes.png"))}),
        (4, {"Scores/real/sharp": ("histogram", 4, BINS + 1)}),
    ]
    assert run.is_finished


def test_a_service_that_fails_is_left_out_with_one_warning(tmp_path, fake_wandb, monkeypatch, caplog):
    def broken(*args, **rest):
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(FakeRun, "log", broken)
    assert reported(tmp_path, "wandb").open == {}
    assert caplog.messages == ["wandb takes nothing more (no network at all); the run goes on without it"]


def test_a_service_that_begins_nothing_is_a_sentence(tmp_path, fake_wandb, monkeypatch):
    def broken(**rest):
        raise RuntimeError("not logged in")

    monkeypatch.setattr(sys.modules["wandb"], "init", broken)
    with pytest.raises(
        UserError, match=r"^wandb does not begin a run \(not logged in\); run `wandb login`, or set WAND"
    ):
        reported(tmp_path, "wandb")


@pytest.mark.parametrize("name", [name for name in SINKS.names() if name != ALWAYS])
def test_a_missing_package_names_its_extra(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    sentence = f"--log={name} needs the package {name}, which is not installed; pip install 'qc-stylegan\\[{name}\\]'"
    with pytest.raises(UserError, match=f"^{sentence}$"):
        require_packages(name)


def test_names_of_loggers():
    assert names_of("") == [] and names_of("wandb, mlflow,wandb,tensorboard") == ["wandb", "mlflow"]
    with pytest.raises(UserError, match="unknown logger 'wandbb'; did you mean 'wandb'"):
        names_of("wandbb")
