"""train.py --metrics: measures every snapshot of both streams, keeps the best, and leaves the training as it is."""

import dataclasses
import json
import zipfile

import pytest
import torch
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train as train_command
from dnnlib.cache import CACHE_VARIABLE
from dnnlib.errors import UserError
from evaluation import snapshots
from evaluation.evaluate import Result
from evaluation.snapshots import SnapshotMetrics, snapshot_metrics
from evaluation.streams.fakes import FakeSource, fake_stream
from metrics.distances.frechet import frechet_distance, moments
from metrics.metric import parse_requests
from networks.files import load_generator
from tests.support.measures import all_images, cifar
from tests.support.runs import (
    ALONE,
    changed,
    png,
    read_stats,
    snapshot,
    tiny_command,
    tiny_config,
)
from torch_utils.checkpoint import load_state, load_tensors, read_header
from training import loop
from training.run_directory import RunDirectory
from training.trainer import Trainer

STEPS = {"kimg": 0.032, "kimg_per_tick": 0.008, "snapshot_ticks": 2}  # 4 steps, snapshots at 16 and 32 images
EVERY = {"kimg": 0.032, "kimg_per_tick": 0.008, "snapshot_ticks": 1}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    """Keep features of this run's images out of the person's own cache."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))


def config_of(run_files, mode="qc", **run):
    return tiny_config(run_files[0], run_files[1] if mode == "qc" else None, run={**STEPS, **run})


def hook_of(config, outdir, names="fd8_cifar", best=None):
    return snapshot_metrics(config, str(outdir), names, best, None, outdir.parent / "cache")


def run(config, outdir, hook):
    try:
        loop.train(ALONE, config, str(outdir), hook)
    finally:
        torch.set_flush_denormal(False)


def lines_of(outdir, name="fd8_cifar"):
    return [json.loads(line) for line in (outdir / f"metric-{name}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(run_files, tmp_path_factory):
    """Return, by mode, the directory of a run with metrics."""
    outdirs = {}
    for mode in ("base", "qc"):
        outdirs[mode] = tmp_path_factory.mktemp(mode) / "run"
        config = config_of(run_files, mode)
        run(config, outdirs[mode], hook_of(config, outdirs[mode], "fd8_cifar,ppl_cifar_wend4"))
    return outdirs


@pytest.mark.parametrize("mode, qualities", [("base", ["sharp"]), ("qc", ["sharp", "degraded"])])
def test_each_snapshot_and_stream_is_a_line(finished, mode, qualities):
    for name in ("fd8_cifar", "ppl_cifar_wend4"):
        lines = lines_of(finished[mode], name)
        found = [(line["images_seen"], line["quality"]) for line in lines]
        assert found == [(images, quality) for images in (16, 32) for quality in qualities]
        assert all(line["values"][name] > 0 and line["network"].startswith("network-snapshot-0") for line in lines)
    log = (finished[mode] / "log.txt").read_text()
    assert log.count("fd8_cifar ") >= 2 * len(qualities) and log.index("fd8_cifar") < log.index("Done: ")


def test_training_keeps_its_precision(precision_of_cuda, run_files, finished, tmp_path, monkeypatch):
    """Metrics are exact; what comes after them in training computes as before, tf32 on a GPU."""
    for owner in precision_of_cuda:
        owner.allow_tf32 = True
    within, evaluate = [], snapshots.evaluate

    def note(*arguments):
        within.extend(owner.allow_tf32 for owner in precision_of_cuda)
        return evaluate(*arguments)

    monkeypatch.setattr(snapshots, "evaluate", note)
    path = finished["base"] / "network-snapshot-000000.032.safetensors"
    (tmp_path / "run").mkdir()
    hook_of(config_of(run_files, "base"), tmp_path / "run")(ALONE, path, load_generator(path)[0], 32)
    assert within == [False, False] and all(owner.allow_tf32 for owner in precision_of_cuda)


@pytest.mark.parametrize("mode", ["base", "qc"])
def test_a_line_is_the_measurement_of_the_stored_network(run_files, finished, mode):
    G, _ = load_generator(finished[mode] / "network-snapshot-000000.032.safetensors")
    reals = loop.open_dataset(config_of(run_files, mode))
    for line in lines_of(finished[mode])[-1:]:
        rows = cifar().features(all_images(fake_stream(FakeSource(G, line["quality"]), 8))).numpy()
        stream = snapshots.real_stream(reals, line["quality"], config_of(run_files, mode).seed)
        real_rows = cifar().features(all_images(stream)).numpy()
        expected = frechet_distance(moments(rows), moments(real_rows))
        assert line["values"]["fd8_cifar"] == pytest.approx(expected, rel=1e-3) and line["num_reals"] == 12


def test_numbers_are_in_tensorboard(finished):
    events = EventAccumulator(str(finished["qc"])).Reload()
    for quality in ("sharp", "degraded"):
        scalars = events.Scalars(f"Metrics/fd8_cifar/{quality}")
        values = [line["values"]["fd8_cifar"] for line in lines_of(finished["qc"]) if line["quality"] == quality]
        assert [scalar.step for scalar in scalars] == [16, 32]
        assert [scalar.value for scalar in scalars] == pytest.approx(values)


@pytest.mark.parametrize("mode", ["base", "qc"])
def test_training_is_the_same_bit_for_bit_without_metrics(run_files, finished, tmp_path, mode):
    run(config_of(run_files, mode), tmp_path / "run", None)
    states = [load_state(outdir / "training-state.pt") for outdir in (finished[mode], tmp_path / "run")]
    assert states[0]["trainer"]["images_seen"] == 32
    assert changed(*(snapshot(state) for state in states)) == set()
    assert read_stats(finished[mode]) == read_stats(tmp_path / "run")
    name = "network-snapshot-000000.032.safetensors"
    assert changed(*(snapshot(load_tensors(outdir / name)) for outdir in (finished[mode], tmp_path / "run"))) == set()


# The best network.


@pytest.fixture
def fake_values(monkeypatch):
    """Replace measurements by numbers given for each snapshot; those of degraded images are their negatives."""

    def install(*values):
        remaining = list(values)

        def measured(world, requests, sources, detectors, cache, seed):
            is_degraded = "degraded" in sources.fakes(1).name
            value = -remaining.pop(0) if is_degraded else remaining[0]
            return [
                Result(request.name, {request.name: value}, {"metric": request.name, "notes": []})
                for request in requests
            ]

        monkeypatch.setattr(snapshots, "evaluate", measured)

    return install


def only_count(trainer, batch):
    """Take a step that learns nothing."""
    trainer.steps += 1
    trainer.images_seen += len(batch.labels)
    trainer.is_whole = True


def best_of(outdir):
    return read_header(RunDirectory(outdir).best_path)["best"]


@pytest.mark.parametrize(
    "name, best, expected",
    [
        ("fd8_cifar", None, (2.0, 0.016)),
        ("fd8_cifar", "fd8_cifar/degraded", (-7.0, 0.024)),
        ("fd_cifar", "fd_cifar", (2.0, 0.016)),
        ("pr8_cifar", None, (7.0, 0.024)),
        ("fd8_cifar,pr8_cifar", "pr8_cifar/sharp", (7.0, 0.024)),
    ],
)
def test_the_best_network_is_kept(run_files, tmp_path, fake_values, monkeypatch, name, best, expected):
    """Smaller distances are better, and larger shares; what comes later and is no better changes nothing."""
    monkeypatch.setattr(SnapshotMetrics, "check", lambda hook: None)  # 50,000 images do not matter here
    monkeypatch.setattr(Trainer, "step", only_count)
    fake_values(5.0, 2.0, 7.0, 2.0)
    config = config_of(run_files, **EVERY, keep_snapshots=1)
    run(config, tmp_path / "run", hook_of(config, tmp_path / "run", name, best))
    header = read_header(tmp_path / "run" / "network-snapshot-best.safetensors")
    assert (header["best"]["value"], header["kimg"]) == expected
    decisive = (best or name).split("/")[0]
    [request] = parse_requests(decisive)
    quality = "degraded" if best is not None and "degraded" in best else "sharp"
    assert (header["best"]["metric"], header["best"]["quality"]) == (request.name, quality)
    load_generator(tmp_path / "run" / "network-snapshot-best.safetensors")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert (
        f"network-snapshot-best.safetensors is now network-snapshot-{header['kimg']:010.3f}.safetensors: {request.name}"
        in log
    )


def test_the_best_network_is_that_of_its_snapshot(run_files, tmp_path, fake_values):
    config = config_of(run_files, **{**EVERY, "kimg": 0.016})
    fake_values(1.0, 2.0)
    run(config, tmp_path / "run", hook_of(config, tmp_path / "run"))
    run(config_of(run_files, kimg=0.008), tmp_path / "short", None)
    best, short = (
        load_tensors(tmp_path / name)
        for name in ("run/network-snapshot-best.safetensors", "short/network-snapshot-000000.008.safetensors")
    )
    assert changed(snapshot(best), snapshot(short)) == set()


def test_the_best_network_is_compared_across_interruptions(run_files, tmp_path, fake_values):
    """A run that goes on knows what was best before; with another measure, the comparison begins anew."""
    outdir = tmp_path / "run"
    for length, values, names, expected in (
        (0.016, (5.0, 3.0), "fd8_cifar", ("fd8_cifar", 3.0)),
        (0.024, (4.0,), "fd8_cifar", ("fd8_cifar", 3.0)),
        (0.032, (9.0,), "kd8_cifar", ("kd8_cifar", 9.0)),
    ):
        fake_values(*values)
        config = config_of(run_files, **{**EVERY, "kimg": length})
        run(config, outdir, hook_of(config, outdir, names))
        best = best_of(outdir)
        assert (best["metric"], best["value"]) == expected


def test_a_damaged_best_network_is_replaced(run_files, tmp_path, fake_values):
    outdir = tmp_path / "run"
    outdir.mkdir()
    RunDirectory(outdir).best_path.write_bytes(b"cut off")
    fake_values(6.0)
    config = config_of(run_files, **{**EVERY, "kimg": 0.008})
    run(config, outdir, hook_of(config, outdir))
    assert best_of(outdir)["value"] == 6


def test_pruning_leaves_the_best_network(tmp_path):
    names = [f"network-snapshot-{kimg:06d}.safetensors" for kimg in (0, 200, 400, 600)]
    for name in [*names, "network-snapshot-best.safetensors"]:
        (tmp_path / name).write_bytes(b"")
    RunDirectory(tmp_path).prune_networks(2, lambda line: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names[2:], "network-snapshot-best.safetensors"]


# Continuing.


def test_continuing_drops_lines_that_are_newer_than_the_state(run_files, tmp_path, fake_values):
    outdir, path = tmp_path / "run", tmp_path / "run" / "metric-fd8_cifar.jsonl"
    for length, values in ((0.016, (1.0, 2.0)), (0.032, (3.0, 4.0))):
        fake_values(*values)
        config = config_of(run_files, **{**EVERY, "kimg": length})
        run(config, outdir, hook_of(config, outdir))
        if length == 0.016:  # what a crash after the state of 16 images may leave, and what a person has measured
            with open(path, "a") as file:
                file.write(json.dumps({"images_seen": 24, "quality": "sharp", "values": {"fd8_cifar": 99.0}}) + "\n")
                file.write(json.dumps({"quality": "by hand", "values": {"fd8_cifar": 7.0}}) + "\n")
                file.write('{"images_seen": 24, "qual')
    lines = lines_of(outdir)
    sharp = [(line["images_seen"], line["quality"]) for line in lines if line["quality"] == "sharp"]
    assert sharp == [(8, "sharp"), (16, "sharp"), (24, "sharp"), (32, "sharp")]
    assert [line["values"]["fd8_cifar"] for line in lines if line["quality"] == "by hand"] == [7.0]
    assert not any(line.get("values") == {"fd8_cifar": 99.0} for line in lines) and len(lines) == 9


class Killed(BaseException):
    """Stands for the end of a process."""


@pytest.mark.parametrize(
    ("place", "number"), [("evaluate", 0), ("evaluate", 1), ("save_tensors", 0), ("append_records", 0)]
)
def test_a_measurement_that_was_killed_is_made_up_for(run_files, tmp_path, fake_values, monkeypatch, place, number):
    """The second one is that of the last network. Its numbers are being found, stored as the best, or written."""
    outdir, config = tmp_path / "run", config_of(run_files, "base", **{**EVERY, "kimg": 0.016})
    names = "fd8_cifar,kd8_cifar"
    fake_values(5.0)
    original, calls = getattr(snapshots, place), []

    def kill(*arguments):
        calls.append(arguments)
        if len(calls) == 1 + number:
            if place == "append_records":  # a part of them
                original(arguments[0], arguments[1][:1])
            raise Killed
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, place, kill)
        with pytest.raises(Killed):
            run(config, outdir, hook_of(config, outdir, names))
    for _ in range(2):
        run(config, outdir, hook_of(config, outdir, names))
        for name in names.split(","):
            assert [line["images_seen"] for line in lines_of(outdir, name)] == [8, 16]
    log = (outdir / "log.txt").read_text()
    assert log.count("The measurement of the newest network was interrupted; it is made up for") == 1
    assert not list(outdir.glob(".*"))


# The command.


def invoke(outdir, run_files, *extra):
    arguments = tiny_command(outdir, *run_files, "--kimg=0.016", "--tick=0.008", "--snap=1", *extra)[1:]
    try:
        return CliRunner().invoke(train_command.main, [str(argument) for argument in arguments])
    finally:
        torch.set_flush_denormal(False)


def test_the_command_measures_what_it_trains(run_files, tmp_path):
    metrics = "--metrics=fd8_cifar,kd8_cifar", "--best=kd8_cifar/degraded"
    result = invoke(tmp_path / "run", run_files, *metrics)
    assert result.exit_code == 0, (result.output, result.exception)
    lines = lines_of(tmp_path / "run", "kd8_cifar")
    assert [(line["images_seen"], line["quality"]) for line in lines] == [
        (images, quality) for images in (8, 16) for quality in ("sharp", "degraded")
    ]
    best = best_of(tmp_path / "run")
    assert (best["metric"], best["quality"]) == ("kd8_cifar", "degraded")
    assert best["value"] == min(line["values"]["kd8_cifar"] for line in lines if line["quality"] == "degraded")


WRONG = {
    "unknown metric": (["--metrics=fd8_cifr"], "unknown metric 'fd8_cifr'; did you mean"),
    "unknown best": (["--metrics=fd8_cifar", "--best=unknown"], "unknown metric 'unknown'"),
    "other best": (
        ["--metrics=fd8_cifar", "--best=kd8_cifar/sharp"],
        "--best=kd8_cifar/sharp is not among what is measured; choose one of fd8_cifar/sharp, fd8_cifar/degraded",
    ),
    "other number": (["--metrics=fd8_cifar", "--best=fd_cifar"], "--best=fd_cifar is not among what is measured"),
    "two best": (["--metrics=fd8_cifar,kd8_cifar", "--best=fd8_cifar,kd8_cifar"], "is not among what is measured"),
    "unknown quality": (["--metrics=fd8_cifar", "--best=fd8_cifar/blurry"], "is not among what is measured"),
    "best of nothing": (["--best=fd8_cifar"], "--best=fd8_cifar says which of the metrics counts, and there are none"),
    "too few fakes": (["--metrics=pr3_cifar"], "pr3_cifar needs at least 4 generated images, here are 3"),
    "too few reals": (["--metrics=pr8_cifar", "--count=3"], "pr8_cifar needs at least 4 real images, here are 3"),
    "no weights": (["--metrics=fid8_full", "--weights-dir=nowhere"], "is not in nowhere; "),
}


@pytest.mark.parametrize("flags, sentence", WRONG.values(), ids=WRONG)
def test_what_cannot_be_measured_is_said_before_training_begins(run_files, tmp_path, flags, sentence):
    result = invoke(tmp_path / "run", run_files, *flags)
    assert result.exit_code == 1, (result.output, result.exception)
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ") and sentence in line
    assert not (tmp_path / "run").exists()


def test_scores_of_fakes_alone_need_no_reals(run_files, tmp_path, monkeypatch):
    """Ten splits of the fakes are possible whatever the number of real images."""
    monkeypatch.setattr(snapshots, "load_detectors", lambda *_: {})
    config = tiny_config(run_files[0])
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, subset=3))
    hook = snapshot_metrics(config, str(tmp_path), "is10", None, None, tmp_path)
    assert hook.requests == tuple(parse_requests("is10"))
    with pytest.raises(UserError, match="is9 needs at least 10 generated images, here are 9"):
        snapshot_metrics(config, str(tmp_path), "is9", None, None, tmp_path)


def test_the_reals_are_those_of_the_run(run_files, tmp_path):
    """Subset and labels are as in training; mirrored copies are not counted."""
    with zipfile.ZipFile(tmp_path / "labelled.zip", "w") as archive:
        for index in range(9):
            archive.writestr(f"img{index}.png", png(index))
        archive.writestr("dataset.json", json.dumps({"labels": [[f"img{i}.png", i % 2] for i in range(9)]}))
    config = tiny_config(tmp_path / "labelled.zip", run={**EVERY, "kimg": 0.008})
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, subset=6, use_labels=True))
    run(config, tmp_path / "run", hook_of(config, tmp_path / "run"))
    [line] = lines_of(tmp_path / "run")
    assert line["num_reals"] == 6
