"""Processes that share a batch do what one does alone, and end together."""

import json
import logging
import signal
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from dnnlib.config import from_dict
from dnnlib.errors import UserError
from dnnlib.remarks import remark
from inversion.encoders.training import EncoderRun
from tests.support.failing import fail_in_one
from tests.support.processes import finish, run_distributed, start
from tests.support.runs import (
    new_trainer,
    png,
    read_stats,
    run_here,
    snapshot,
    tiny_command,
    tiny_config,
    train,
    wait_for_images,
)
from tests.support.tolerance import assert_close
from tests.torch_utils.test_device import META
from torch_utils import distributed
from torch_utils.checkpoint import load_state, save_state
from torch_utils.distributed import World
from training import loop
from training.config import TrainConfig

STEPS = 4  # with path lengths in steps 0 and 2, and R1 in steps 0 and 3
TINY = "--kimg=0.032", "--tick=0.016"


@pytest.fixture(scope="module")
def configs(run_files):
    """Return a configuration for each mode whose discriminators look at one image at a time."""
    data, base = run_files
    changes = {"discriminator": {"mbstd_group_size": 1}, "augment": {"p": 0.3}}
    return {"base": tiny_config(data, **changes), "qc": tiny_config(data, base, **changes)}


def train_each_mode(world, configs, folder):
    """Save the state after some steps; then, in new trainers, that after continuing for one more."""
    for mode, config in configs.items():
        save(world, train(new_trainer(config, world), STEPS), folder / f"{mode}.pt")
        resumed = new_trainer(config, world)
        resumed.load_state_dict(load_state(folder / f"{mode}.pt"))
        save(world, train(resumed, 1), folder / f"{mode}-later.pt")


def save(world, trainer, path):
    state = trainer.state_dict()
    if world.is_first:
        save_state(path, state)
    world.barrier()


@pytest.fixture(scope="module")
def shared_runs(configs, tmp_path_factory):
    """Return the folder of the states that two processes have come to."""
    folder = tmp_path_factory.mktemp("shared")
    run_distributed(train_each_mode, 2, configs, folder)
    return folder


@pytest.fixture(scope="module")
def alone(configs):
    """Return the states that one process has come to, by mode."""
    return {mode: train(new_trainer(config), STEPS).state_dict() for mode, config in configs.items()}


def assert_same_training(actual, expected):
    """Assert that two states differ by no more than the order of summation makes."""
    actual, expected = snapshot(actual), snapshot(expected)
    assert actual.keys() == expected.keys()
    weights = 0
    for name, value in expected.items():
        if not isinstance(value, torch.Tensor):
            assert actual[name] == value, name
        elif name.startswith(".statistics"):
            means = [sums[1] / sums[0] for sums in (actual[name], value)]  # the number counts reports
            assert_close(*means, rtol=1e-4, what=name)
        elif ".optimizer" in name:
            assert_close(actual[name], value, rtol=1e-3, what=name)
        else:
            assert_close(actual[name], value, rtol=1e-4, what=name)
            weights += value.numel()
    assert weights > 10_000


@pytest.mark.parametrize("mode", ["base", "qc"])
def test_two_processes_equal_one(alone, shared_runs, mode):
    assert_same_training(load_state(shared_runs / f"{mode}.pt"), alone[mode])


@pytest.mark.parametrize("mode", ["base", "qc"])
def test_two_processes_continue_as_one(configs, shared_runs, mode):
    """A state holds what all processes have counted, and continuing counts nothing twice."""
    alone = new_trainer(configs[mode])
    alone.load_state_dict(load_state(shared_runs / f"{mode}.pt"))
    states = load_state(shared_runs / f"{mode}-later.pt"), train(alone, 1).state_dict()
    for name in states[0]["statistics"].copy():
        counted, expected = (state["statistics"].pop(name) for state in states)
        if "/scores/" in name or "/signs/" in name:  # which count images; losses count how often they were reported
            assert_close(counted, expected, rtol=1e-4, what=name)
    assert_same_training(*states)


@pytest.mark.parametrize("mode", ["base", "qc"])
def test_accumulated_gradients_are_those_of_the_whole_batch(configs, alone, mode):
    config = configs[mode]
    accumulated = train(new_trainer(replace(config, run=replace(config.run, batch_gpu=4))), STEPS)
    assert accumulated.batch_gpu == 4
    assert_same_training(accumulated.state_dict(), alone[mode])


def test_an_error_in_one_process_is_raised_here():
    """Although the other one fails as well, since it waits in vain; signal handlers are afterwards what they were.

    Fresh interpreters are started, as those of the command.
    """
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(UserError, match="^process 1 has had enough; give it another batch$"):
        distributed.run(fail_in_one, 2, "cpu")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def warn(world, folder):
    logging.getLogger().addHandler(logging.FileHandler(folder / f"{world.rank}.log"))
    for text in ("said before", "new", "new"):
        remark(text)


def test_remarks_are_those_of_the_command(tmp_path):
    """They are given once, by the first process, and not at all where the one that has started it has given them."""
    remark("said before")
    run_distributed(warn, 2, tmp_path)
    assert [(tmp_path / f"{rank}.log").read_text() for rank in (0, 1)] == ["new\n", ""]


def test_the_command_stops_and_continues_with_another_number_of_processes(run_files, tmp_path):
    outdir = tmp_path / "run"
    process = start(tiny_command(outdir, *run_files, "--gpus=2", "--kimg=1", "--tick=0.016"))
    wait_for_images(process, outdir, 16)
    process.send_signal(signal.SIGTERM)
    code, output, errors = finish(process)
    assert code == 143, errors
    assert "Stopped by SIGTERM" in output
    seen = load_state(outdir / "training-state.pt")["trainer"]["images_seen"]
    config = stored_config(outdir)
    run_here(replace(config, run=replace(config.run, gpus=1, kimg=(seen + 16) / 1000)), outdir)
    assert load_state(outdir / "training-state.pt")["trainer"]["images_seen"] == seen + 16
    assert [record["images_seen"] for record in read_stats(outdir)] == list(range(16, seen + 17, 16))


def note_the_last_step(world, folder):
    """Note when each kind of run stops whose second process alone is asked to, after step 5."""
    here = World(world.rank, world.size, META)  # nothing can be read from such a device
    runs = {
        loop.NetworkRun: lambda step: SimpleNamespace(world=here, trainer=SimpleNamespace(steps=step)),
        EncoderRun: lambda step: SimpleNamespace(world=here, images_seen=step * 8, config=SimpleNamespace(batch=8)),
    }
    last = [
        next(n for n in range(20) if run.agree_to_stop(at(n), here.rank == 1 and n > 5)) for run, at in runs.items()
    ]
    (folder / str(here.rank)).write_text(str(last))


def test_all_processes_stop_at_the_same_step(tmp_path):
    run_distributed(note_the_last_step, 2, tmp_path)
    assert [(tmp_path / rank).read_text() for rank in "01"] == [str([8, 8])] * 2


def stored_config(outdir):
    return from_dict(TrainConfig, json.loads((outdir / "config.json").read_text()))


def test_a_bad_image_ends_all_processes_with_one_sentence(run_files, tmp_path):
    """Only one of them reads it; the other is waiting for its gradients."""
    data = tmp_path / "images"
    with zipfile.ZipFile(run_files[0]) as archive:
        archive.extractall(data)
    (data / "img03.png").write_bytes(png(3)[:-200])
    (data / "note.txt").write_text("")
    code, _, errors = finish(start(tiny_command(tmp_path / "run", data, run_files[1], "--gpus=2", *TINY)))
    assert code == 1
    passed_over, sentence = [line for line in errors.splitlines() if line]
    assert passed_over == f"WARNING: {data}: skipped 1 .txt"
    assert sentence.startswith("Error: ") and "img03.png" in sentence


def test_torchrun_starts_the_command(run_files, tmp_path):
    """Two processes of torchrun's come to the state of one process."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    code, output, errors = finish(
        start([*launcher, *tiny_command(tmp_path, *run_files, "--kimg=0.016", "--tick=0.016")])
    )
    assert code == 0, errors
    assert output.count("Done: ") == 1
    alone = train(new_trainer(stored_config(tmp_path)), 2)
    alone.statistics.read()  # as the last tick has
    assert_same_training(load_state(tmp_path / "training-state.pt")["trainer"], alone.state_dict())


def train_in_a_directory_of_ones_own(world, config, folder):
    """As on nodes whose disks are their own: only the first process sees what it has saved before."""
    loop.train(world, config, folder / str(world.rank))


def test_processes_that_see_different_states_say_so(run_files, tmp_path):
    config = tiny_config(run_files[0], run={"kimg": 0.008})
    run_here(config, tmp_path / "0")
    longer = replace(config, run=replace(config.run, kimg=0.016))
    with pytest.raises(UserError, match=r"do not see the same training state .* \[8, 0\].* share"):
        run_distributed(train_in_a_directory_of_ones_own, 2, longer, tmp_path)
