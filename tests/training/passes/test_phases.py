"""Whole phases as graphs, on a CPU: a phase runs again where a GPU would replay, into the memory of the recording."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from dnnlib.errors import UserError
from tests.support.runs import flatten, new_trainer, run_here, tiny_config, train, wake
from torch_utils.distributed import World
from training import loop
from training.passes import graphed

STEPS = graphed.WARM_UPS + 3  # so that each phase is recorded, and then replayed twice


def capture_on(device):
    """Unlike on a GPU the phase takes effect when it is recorded, so the first replay does nothing."""

    def capture(function, generators):
        result = function()
        replays = 0

        def replay():
            nonlocal replays
            replays += 1
            if replays > 1:
                for memory, value in zip(tree_leaves(result), tree_leaves(function()), strict=True):
                    if isinstance(memory, torch.Tensor) and memory is not value:
                        memory.copy_(value)

        return replay, result

    return capture


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(graphed, "capture_on", capture_on)
    monkeypatch.setattr(graphed, "beside", lambda device, function: function())


@pytest.mark.parametrize("changes", [{"train_degrad_only": True}, {"train_all": True}, {}, None], ids=str)
def test_phases_as_graphs_train_bit_for_bit_as_without(run_files, changes):
    """With every phase in each step, augmentation, several rounds, shared fakes where all is trained; None: base."""
    data, base = run_files
    train_all = bool(changes) and "train_all" in changes
    loss = {"pl_interval": 1, "r1_interval": 1, "share_fakes": train_all}
    states = []
    for graphs in ("none", "phases"):
        run = {"cuda_graphs": graphs, "batch_gpu": 4 if train_all else 8}
        augment = {"mode": "ada", "p": 0.4, "interval": 1}
        config = tiny_config(
            data, None if changes is None else base, run=run, loss=loss, augment=augment, **(changes or {})
        )
        trainer = train(wake(new_trainer(config)), STEPS)
        histograms = {name: each.counts.tolist() for name, each in trainer.histograms.read().items()}
        states.append((flatten(trainer.state_dict()), histograms))
    (eager, eager_histograms), (replayed, histograms) = states
    assert histograms == eager_histograms and eager.keys() == replayed.keys()
    for name, value in eager.items():
        same = torch.equal(replayed[name], value) if isinstance(value, torch.Tensor) else replayed[name] == value
        assert same or "capturable" in name, name


def test_what_is_not_finite_is_noticed_in_a_replay(run_files):
    trainer = wake(new_trainer(tiny_config(run_files[0], run={"cuda_graphs": "phases"})))
    train(trainer, STEPS)
    trainer.require_finite()
    with torch.no_grad():
        next(iter(trainer.streams[0].D.trainable_parameters().values())).fill_(torch.nan)
    train(trainer, 1)
    with pytest.raises(UserError, match="loss G/sharp became NaN or infinite in phase G"):
        trainer.require_finite()


def test_what_graphs_cannot_do_is_one_sentence(run_files, tmp_path):
    config = tiny_config(run_files[0], run={"cuda_graphs": "phases"})
    with pytest.raises(UserError, match=r"^--cuda-graphs=phases on a cpu device, which has none; leave it out$"):
        run_here(config, tmp_path / "run")
    with pytest.raises(UserError, match=r"^--cuda-graphs=phases with 2 processes; take --cuda-graphs=passes$"):
        loop._require_graphs(config, World(0, 2, torch.device("cuda", 0)))
