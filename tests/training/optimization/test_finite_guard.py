"""What goes wrong ends in one sentence, and never costs the state that was saved before."""

import errno
import os
import resource
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.campaign.nan import places
from benchmarks.campaign.support.kinds import Kind
from dnnlib.errors import UserError
from tests.support.processes import finish, in_fork, start
from tests.support.runs import new_trainer, read_stats, run_here, tiny_command, tiny_config, train
from torch_utils.checkpoint import load_state, save_state, save_tensors
from torch_utils.checksums import named_leaves
from training.optimization.finite_guard import FiniteGuard
from training.trainer import Trainer

NAN, INF = float("nan"), float("inf")


def train_for(run_files, outdir, steps, **changes):
    run = {"kimg": steps * 0.008, "kimg_per_tick": 0.016, "state_ticks": 1}
    run_here(tiny_config(*run_files, run=run, **changes), outdir)
    return outdir / "training-state.pt"


@pytest.fixture(scope="module")
def good_run(run_files, tmp_path_factory):
    """Return the directory of a run of two steps; no test changes it."""
    outdir = tmp_path_factory.mktemp("good") / "run"
    train_for(run_files, outdir, 2)
    return outdir


@pytest.fixture
def outdir(good_run, tmp_path):
    """Return a copy of that run."""
    return shutil.copytree(good_run, tmp_path / "run")


def spoil(monkeypatch, at, network, parameter, value):
    """Set one element of a weight after step `at` of a run."""
    step = Trainer.step

    def spoiling(trainer, batch):
        step(trainer, batch)
        if trainer.steps == at:
            with torch.no_grad():
                trainer.networks()[network].get_parameter(parameter).view(-1)[0] = value

    monkeypatch.setattr(Trainer, "step", spoiling)


@pytest.mark.parametrize(
    ("network", "parameter", "value", "at", "sentence"),
    [
        # After a tick the next step's loss tells; with a tick the weights are looked at.
        ("D_degraded", "b4.out.weight", NAN, 3, "loss G/degraded became NaN or infinite in phase G;"),
        ("D_sharp", "b4.fc.bias", INF, 3, "loss [GD]/sharp became NaN or infinite in phase (G|D_sharp);"),
        ("D_degraded", "b4.out.weight", -INF, 4, "weight b4.out.weight became NaN or infinite in phase D_degraded;"),
        ("G", "synthesis.b16.torgb.bias", INF, 4, "weight synthesis.b16.torgb.bias became NaN or infinite in phase G;"),
    ],
)
def test_a_bad_number_stops_the_run(run_files, good_run, outdir, monkeypatch, network, parameter, value, at, sentence):
    """The sentence names tensor and phase; the last good state stays as it was."""
    spoil(monkeypatch, at, network, parameter, value)
    with pytest.raises(UserError, match=f"^{sentence} the last saved state is untouched"):
        train_for(run_files, outdir, 6)
    assert (outdir / "training-state.pt").read_bytes() == (good_run / "training-state.pt").read_bytes()
    assert not [path for path in outdir.iterdir() if path.name.endswith(".part")]


def test_a_run_with_a_bad_number_continues(run_files, outdir, monkeypatch):
    """From the last good state, whatever was written since."""
    with monkeypatch.context() as patch:
        spoil(patch, 4, "G", "synthesis.b16.torgb.bias", INF)
        with pytest.raises(UserError, match="became NaN or infinite"):
            train_for(run_files, outdir, 6)
    assert load_state(outdir / "training-state.pt")["trainer"]["steps"] == 2
    state = train_for(run_files, outdir, 4)
    assert load_state(state)["trainer"]["steps"] == 4
    assert [record["images_seen"] for record in read_stats(outdir)] == [16, 32]


def test_the_command_says_one_sentence(run_files, tmp_path):
    """An absurd learning rate of the discriminators ends with exit code 1 before anything is saved."""
    outdir = tmp_path / "run"
    process = start(tiny_command(outdir, *run_files, "--kimg=1", "--tick=0.016", "--set=optimizer_d.lr=1e30"))
    code, _, errors = finish(process)
    assert code == 1
    [sentence] = errors.splitlines()
    assert sentence.startswith("Error: ") and "became NaN or infinite in phase" in sentence
    assert not (outdir / "training-state.pt").exists()


@given(value=st.sampled_from([NAN, INF, -INF]), size=st.integers(1, 50), data=st.data())
def test_guard_finds_one_element(value, size, data):
    index = data.draw(st.integers(0, size - 1))
    guard = FiniteGuard()
    losses = torch.zeros(size)
    guard.watch("D", "loss D/real", losses)
    guard.check({})
    losses[index] = value
    guard.watch("D", "loss D/real", losses)
    guard.watch("D", "loss D/real", torch.zeros(size))  # a later good value does not excuse it
    with pytest.raises(UserError, match="^loss D/real became NaN or infinite in phase D;"):
        guard.check({})
    guard.check({})


def test_guard_names_the_first_of_many():
    guard = FiniteGuard()
    for phase, name, value in [("G", "loss a", 1.0), ("G_reg", "loss b", float("inf")), ("D", "loss c", float("nan"))]:
        guard.watch(phase, name, torch.tensor(value))
    with pytest.raises(UserError, match="^loss b became NaN or infinite in phase G_reg;"):
        guard.check({})


def test_guard_leaves_frozen_weights_alone():
    network = torch.nn.Linear(2, 2)
    network.weight.requires_grad_(False).fill_(float("inf"))
    FiniteGuard().check({"G": network})


STATE = {"weights": torch.arange(50_000.0), "steps": 3}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "training-state.pt"
    save_state(path, STATE)
    return path, path.read_bytes()


def assert_untouched(path, before):
    assert path.read_bytes() == before
    assert torch.equal(load_state(path)["weights"], STATE["weights"])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("failing", ["torch.save", "os.fsync", "os.replace"])
def test_a_full_disk_costs_nothing(saved, monkeypatch, failing):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(failing, refuse)
        with pytest.raises(UserError, match="^cannot write .*training-state.pt: the disk is full; free some space"):
            save_state(saved[0], {"weights": torch.zeros(9)})
    assert_untouched(*saved)


def refusals_of_writes(path):
    """Return what is said where the system takes no byte, and where it takes some."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    tensors, said = {"weights": torch.zeros(300_000)}, []
    for limit in (0, 1_000_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for write in (partial(save_state, path, tensors), partial(save_tensors, path, tensors, {})):
            with pytest.raises(UserError) as caught:
                write()
            said.append(str(caught.value))
    return said


def test_a_write_that_the_system_refuses(saved):
    """The system's own refusal, at the first byte and in the middle: one line each, and the previous file stays."""
    path, before = saved
    sentences = in_fork(refusals_of_writes, path)
    assert len(sentences) == 4
    for sentence in sentences:
        assert "\n" not in sentence
        assert sentence.startswith(f"cannot write {path}: ") and sentence.endswith("what was there before is untouched")
    assert_untouched(path, before)


def test_a_run_on_a_full_disk_keeps_its_state(run_files, outdir, monkeypatch):
    """The run ends with the sentence, and goes on when there is space."""
    state = outdir / "training-state.pt"
    before = state.read_bytes()

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("torch.save", refuse)
        with pytest.raises(UserError, match="the disk is full"):
            train_for(run_files, outdir, 4)
    assert state.read_bytes() == before
    train_for(run_files, outdir, 4)
    assert load_state(state)["trainer"]["steps"] == 4


@pytest.mark.parametrize("kept", [0, 1, 100, 5_000, -1])
def test_a_cut_state_is_no_state(saved, kept):
    path, before = saved
    path.write_bytes(before[:kept])
    with pytest.raises(UserError, match="training-state.pt"):
        load_state(path)


def test_a_state_never_runs_code(tmp_path):
    path = tmp_path / "training-state.pt"
    torch.save({"weights": Touch(tmp_path / "harm")}, path)
    with pytest.raises(UserError, match="is damaged or no training state"):
        load_state(path)
    assert not (tmp_path / "harm").exists()


class Touch:
    """What a pickle can do: call any function while it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def every_place():
    """Return (mode, place, function from a trainer to a tensor) for all that a state holds."""
    for mode in ("base", "qc"):
        for name, find in places(Kind(mode, [], Path())).items():
            yield pytest.param(mode, find, id=f"{mode}: {name}")


@pytest.fixture(scope="module")
def trainers(run_files):
    """Return a trainer of each mode after a step."""
    data, base = run_files
    configs = {"base": tiny_config(data), "qc": tiny_config(data, base)}
    return {mode: train(new_trainer(config), 1) for mode, config in configs.items()}


@pytest.mark.parametrize(("mode", "find"), list(every_place()))
def test_a_bad_number_anywhere_is_found_before_a_save(trainers, mode, find):
    """The tensor that holds it is named; without it, nothing is said."""
    trainer = trainers[mode]
    trainer.require_finite()
    tensor = find(trainer)
    names = [name for name, leaf in named_leaves(trainer.state_dict()).items() if _is_same_memory(leaf, tensor)]
    for value in (NAN, INF, -INF):
        before = tensor.detach().clone()
        with torch.no_grad():
            tensor[(0,) * tensor.ndim] = value
        try:
            with pytest.raises(UserError, match="became NaN or infinite") as caught:
                trainer.require_finite()
        finally:
            with torch.no_grad():
                tensor.copy_(before)
        assert not names or names[0].rpartition(".")[2] in str(caught.value)


def _is_same_memory(leaf, tensor):
    return isinstance(leaf, torch.Tensor) and leaf.data_ptr() == tensor.data_ptr()


def test_large_numbers_are_finite(trainers):
    """Their squares are not."""
    trainer = trainers["base"]
    moment = next(iter(trainer.optimizer_g.state.values()))["exp_avg"]
    before = moment.clone()
    moment.fill_(3e38)
    trainer.require_finite()
    moment.copy_(before)
