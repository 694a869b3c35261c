"""Gradients that processes send while the backward pass goes on are those that one message after it would give."""

import pytest
import torch
import torch.distributed as dist

from tests.support.processes import run_distributed
from tests.support.runs import batches, new_trainer, tiny_config, train
from torch_utils.distributed import World
from training.optimization import gradient_average, phase
from training.optimization.gradient_average import GradientAverage
from training.optimization.phase import Phase


@pytest.fixture(scope="module")
def config(run_files):
    changes = {"discriminator": {"mbstd_group_size": 1}, "run": {"batch_gpu": 2}}
    return tiny_config(*run_files, **changes, train_all=True)


def averaged_afterwards(world, parameters):
    """The specification: when every gradient is complete, one message for all of them."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    return (flat / world.size).split([gradient.numel() for gradient in gradients])


class Checked(GradientAverage):
    """Keeps count of what was sent before the backward pass was over, and compares with the specification."""

    early = 0

    def __init__(self, world, parameters):
        super().__init__(world, parameters, bucket_bytes=4096)
        self.parameters = parameters

    def finish(self):
        Checked.early += len(self.sent)
        expected = averaged_afterwards(self.world, self.parameters)
        super().finish()
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        for actual, mean in zip(gradients, expected, strict=True):
            assert torch.equal(actual.flatten(), mean)
        assert any(mean.any() for mean in expected)


def run_all_phases(world, config):
    phase.GradientAverage = Checked
    trainer = new_trainer(config, world)
    rounds = list(trainer._rounds(next(batches(config, 0, world))))
    assert len(rounds) == 2
    fakes = [trainer.make_fakes(round_) for round_ in rounds]
    for stream in trainer.streams:
        assert early(trainer.train_generator, rounds) > 3
        assert early(trainer.train_discriminator, stream, rounds, fakes) > 3
        # R1 has no gradient for the last bias, and messages keep their order: they all come at the end.
        assert early(trainer.regularize_discriminator, stream, rounds) == 0
        early(trainer.regularize_generator, rounds)


def early(run, *arguments):
    Checked.early = 0
    run(*arguments)
    return Checked.early


def test_messages_sent_early_bring_the_same_means_bit_for_bit(config):
    """In every phase, with gradients of two rounds."""
    run_distributed(run_all_phases, 2, config)


def test_buckets_hold_every_parameter_once_from_the_last_on():
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in (10, 300, 20, 30, 40)]
    buckets = list(gradient_average._buckets(reversed(parameters), 4 * 100))
    assert [[len(parameter) for parameter in bucket] for bucket in buckets] == [[40, 30, 20], [300], [10]]


def test_a_phase_that_fails_leaves_nothing_behind(config, monkeypatch):
    """No hook answers the next backward pass, and no process sends a message to itself."""
    pair = World(0, 2, torch.device("cpu"))
    monkeypatch.setattr(dist, "all_reduce", lambda *_, **__: pytest.fail("a message without a phase"))
    trainer = new_trainer(config)
    parameters = list(trainer.G.trainable_parameters().values())
    with pytest.raises(ZeroDivisionError), Phase(pair, trainer.optimizer_g, trainer.G, [], 4, False) as backward:
        backward(sum((parameter * 0).sum() for parameter in parameters[:1]), 4)
        raise ZeroDivisionError
    sum(parameter.sum() for parameter in parameters).backward()
    train(trainer, 1)
