"""A run that was interrupted, however it was, ends with the bits of one that was not."""

import copy
import dataclasses
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from dnnlib.errors import UserError
from tests.support.networks import small_creps, write_network
from tests.support.processes import finish, start
from tests.support.runs import (
    ROOT,
    changed,
    new_trainer,
    read_stats,
    run_here,
    snapshot,
    tiny_command,
    tiny_config,
    train,
    wait_for_images,
)
from torch_utils.checkpoint import load_state
from torch_utils.distributed import LostProcessError
from training import loop
from training.optimization.phase import Phase
from training.run_directory import RunDirectory
from training.trainer import Trainer

KIMG = 0.072  # 9 steps of 8 images, each with its tick
TWO_WORKERS = f"--workers={min(2, len(os.sched_getaffinity(0)))}"  # torch warns of more than there are cores


@pytest.mark.parametrize(("mode", "share_fakes"), [("base", False), ("qc", False), ("qc", True)])
def test_a_new_trainer_goes_on_exactly(config, tmp_path, mode, share_fakes):
    """Networks, optimizers, augmentation, path lengths, counters and statistics are those of 5 steps on end.

    Before and after the third, all phases have their turn, and the strength of augmentation changes.
    """
    run = config(mode, loss={"share_fakes": share_fakes})
    straight = train(new_trainer(run), 3)
    directory = RunDirectory(tmp_path)
    directory.save_state({"trainer": straight.state_dict()})
    train(straight, 2)
    torch.manual_seed(123)
    resumed = new_trainer(run)
    resumed.load_state_dict(directory.load_state()["trainer"])
    train(resumed, 2)
    assert not changed(snapshot(straight), snapshot(resumed))
    for stream in resumed.streams:
        assert stream.strength.steps == 5 and stream.augment.p not in (0, 0.3) and stream.pl_mean > 0
    assert straight.statistics.read() == resumed.statistics.read()


@pytest.mark.parametrize("mode", ["base", "qc"])
def test_a_new_trainer_of_creps_goes_on_exactly(config, tmp_path, mode):
    base = write_network(tmp_path / "base.safetensors", small_creps())
    changes = {"generator": {"kind": "creps", "creps": {"channels": 4, "thickness": 3}}}
    run = config(mode, **changes)
    run = dataclasses.replace(run, init_from=str(base)) if mode == "qc" else run
    straight, resumed = (new_trainer(run) for _ in range(2))
    start = {name: value.clone() for name, value in straight.G.state_dict().items()}
    resumed.load_state_dict(copy.deepcopy(train(straight, 2).state_dict()))
    train(straight, 1)
    train(resumed, 1)
    assert not changed(snapshot(straight), snapshot(resumed))
    assert all(not torch.equal(start[name], value) for name, value in straight.G.trainable_parameters().items())


def test_saving_changes_nothing(config):
    plain, saved = (new_trainer(config()) for _ in range(2))
    for _ in range(2):
        train(plain, 1)
        train(saved, 1).state_dict()
    assert not changed(snapshot(plain), snapshot(saved))


@pytest.fixture(scope="module")
def uninterrupted(run_files, tmp_path_factory):
    """Return the directory of a whole run of the command."""
    outdir = tmp_path_factory.mktemp("runs") / "whole"
    code, output, errors = finish(start(command(outdir, run_files)))
    assert code == 0, errors
    assert "Done: " in output
    return outdir


def command(outdir, run_files, *extra):
    return tiny_command(outdir, *run_files, f"--kimg={KIMG}", "--tick=0.008", *extra)


def assert_same_run(outdir, expected):
    network = f"network-snapshot-{KIMG:010.3f}.safetensors"
    assert (outdir / network).read_bytes() == (expected / network).read_bytes()
    states = [snapshot(load_state(path / "training-state.pt")) for path in (outdir, expected)]
    assert not changed(*states)
    assert read_stats(outdir) == read_stats(expected)
    assert len(read_stats(outdir)) == 9


def stopped_by(send, number, outdir, run_files, images, *extra):
    """Run the command until so many images are reported, send a signal, and return what came of it."""
    process = start(command(outdir, run_files, *extra))
    wait_for_images(process, outdir, images)
    send(process.pid, number)
    return finish(process)


def test_the_command_continues_after_every_signal(run_files, uninterrupted, tmp_path):
    """SIGTERM, SIGKILL and SIGINT in turn; the same command goes on each time and ends as if nothing had been.

    Cluster schedulers and Ctrl-C reach all processes, so also the workers that read images.
    """
    outdir = tmp_path / "run"
    code, output, errors = stopped_by(os.killpg, signal.SIGTERM, outdir, run_files, 8, TWO_WORKERS)
    assert (code, errors) == (143, "")
    assert "Stopped by SIGTERM" in output and "the same command continues" in output
    assert stopped_by(os.kill, signal.SIGKILL, outdir, run_files, 24)[0] == -signal.SIGKILL
    code, output, errors = stopped_by(os.killpg, signal.SIGINT, outdir, run_files, 32, "--workers=1")
    assert (code, errors) == (130, "")
    assert "Continuing at" in output and "Stopped by SIGINT" in output
    code, output, errors = finish(start(command(outdir, run_files)))
    assert (code, errors) == (0, "")
    assert_same_run(outdir, uninterrupted)


HOLD_BATCHES = """
import sys
from images.datasets.batches import TrainingBatches
from images.datasets.dataset import ImageDataset
batches = iter(TrainingBatches(ImageDataset(sys.argv[1]), 8, slice(None), 0, workers=2))
next(batches)
raise KeyError("an error while the workers are busy")
"""


def test_workers_end_with_their_process(run_files):
    """They outlive a signal from elsewhere, but not a process that fails without a word to them."""
    command = [sys.executable, "-c", HOLD_BATCHES, run_files[0]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "KeyError" in done.stderr


LOST = {  # where another process is missed, and what is in the state then
    "between steps": (loop.NetworkRun, "agree_to_stop", 24),
    "before a step changes anything": (Phase, "__exit__", 24),
    "in the middle of a step": (Trainer, "make_fakes", 16),
}


def test_a_lost_process_costs_no_more_than_a_step(run_files, tmp_path, monkeypatch):
    """What is whole is saved, and goes on as if nothing had been; half a step is not."""
    config = tiny_config(run_files[0], run={"kimg": 0.032, "kimg_per_tick": 0.016, "state_ticks": 1})
    run_here(config, tmp_path / "whole")
    for moment, (owner, name, expected) in LOST.items():
        with monkeypatch.context() as patch:
            lose_a_process(patch, owner, name, 24)
            with pytest.raises(LostProcessError):
                run_here(config, tmp_path / moment)
        assert load_state(tmp_path / moment / "training-state.pt")["trainer"]["images_seen"] == expected
        run_here(config, tmp_path / moment)
        states = [load_state(tmp_path / folder / "training-state.pt")["trainer"] for folder in ("whole", moment)]
        for state in states:
            del state["statistics"]  # that of the last tick counts what was reported of the step that was not taken
        assert not changed(*map(snapshot, states))


def lose_a_process(patch, owner, name, at):
    """Let a method fail as exchanges with a lost process do, from so many images on."""
    step, original, seen = Trainer.step, getattr(owner, name), [0]

    def note(trainer, batch):
        seen[0] = trainer.images_seen
        step(trainer, batch)
        seen[0] = trainer.images_seen

    def fail(self, *arguments):
        if seen[0] == at:
            raise LostProcessError("a process of this run has ended")
        return original(self, *arguments)

    patch.setattr(Trainer, "step", note)
    patch.setattr(owner, name, fail)


def test_a_failure_to_write_the_last_network_is_made_good(run_files, tmp_path, monkeypatch, capfd):
    """The state that says "done" is written last, so that the same command writes the network that is missing."""
    config = tiny_config(*run_files, run={"kimg": 0.016})
    whole = tmp_path / "whole"
    run_here(config, whole)

    def refuse(*_):
        raise UserError("the disk is full")

    outdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_network", refuse)
        with pytest.raises(UserError, match="the disk is full"):
            run_here(config, outdir)
    run_here(config, outdir)
    name = "network-snapshot-000000.safetensors"
    assert (outdir / name).read_bytes() == (whole / name).read_bytes()
    files_before = {path: path.read_bytes() for path in outdir.glob("[ns]*")}
    capfd.readouterr()
    run_here(config, outdir)
    assert "Nothing to do" in capfd.readouterr().out
    assert files_before == {path: path.read_bytes() for path in outdir.glob("[ns]*")}


def test_a_state_comes_after_the_network_of_its_tick(run_files, tmp_path, monkeypatch):
    """So a run that is killed between the two makes the network once more, instead of leaving it out."""
    states = []
    save_state = RunDirectory.save_state

    def check(directory, state):
        states.append(state["trainer"]["images_seen"])
        assert directory.network_path(states[-1]).exists()
        save_state(directory, state)

    monkeypatch.setattr(RunDirectory, "save_state", check)
    monkeypatch.setattr(RunDirectory, "network_path", lambda directory, images: directory.path / f"{images}.network")
    run = {"kimg": 0.024, "kimg_per_tick": 0.008, "snapshot_ticks": 1, "state_ticks": 1}
    run_here(tiny_config(run_files[0], run=run), tmp_path)
    assert states == [8, 16, 24]


def test_data_may_move_and_get_another_name(run_files, tmp_path):
    run_here(tiny_config(run_files[0], run={"kimg": 0.008}), tmp_path / "run")
    moved = tmp_path / "elsewhere" / run_files[0].name
    moved.parent.mkdir()
    shutil.copy(run_files[0], moved)
    run_here(tiny_config(moved, run={"kimg": 0.016}), tmp_path / "run")
    assert [record["images_seen"] for record in read_stats(tmp_path / "run")] == [8, 16]
    other = tmp_path / "elsewhere" / "other.zip"
    moved.rename(other)
    run_here(tiny_config(other, run={"kimg": 0.024}), tmp_path / "run")
    assert [record["images_seen"] for record in read_stats(tmp_path / "run")] == [8, 16, 24]


def test_another_configuration_does_not_continue(run_files, tmp_path):
    """What defines a run is compared; how it is carried out may change."""
    run = {"kimg": 0.008}
    run_here(tiny_config(run_files[0], run=run), tmp_path)
    with pytest.raises(UserError, match=r"loss.r1_gamma: 1.0 -> 2.0.*another --outdir"):
        run_here(tiny_config(run_files[0], loss={"r1_gamma": 2.0}, run=run), tmp_path)
    run_here(tiny_config(run_files[0], run={"kimg": 0.016, "batch_gpu": 4, "kimg_per_tick": 0.008}), tmp_path)
    assert [record["images_seen"] for record in read_stats(tmp_path)] == [8, 16]
