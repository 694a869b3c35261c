"""On a GPU: a step never makes the host wait, computes what the CPU does, and so do its compiled passes."""

import pytest
import torch

from images.datasets.batches import Batch
from tests.support.runs import IMAGES, tiny_config, wake
from tests.support.tolerance import assert_close
from tests.training.test_step import Layouts, is_known
from torch_utils.distributed import World
from torch_utils.seeding import BatchRandom
from training import trainer
from training.loop import allow_tf32

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.usefixtures("precision_of_cuda"),
]

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class HostDraws(BatchRandom):
    """Draws the same numbers for every device."""

    def __init__(self, key, batch_size, rows=None, device="cpu", copies=1, generator=None):
        super().__init__(key, batch_size, rows, "cpu", copies)
        self.target = device

    def _select_rows(self, batch):
        return super()._select_rows(batch).to(self.target)


@pytest.fixture
def base(run_files):
    return run_files[1]


def new_trainer(base, device, dtype="fp32", variant="released", run=None, **changes):
    precision = {"precision": {"dtype": dtype, "blocks": 2}}
    quality = {"quality": {"variant": variant}}
    run = {"device": device.type} | (run or {})
    config = tiny_config("", base, generator=precision | quality, discriminator=precision, run=run, **changes)
    allow_tf32(config)
    return wake(trainer.Trainer(config, IMAGES, World(0, 1, device)))


def new_batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return Batch(images, images.flip(3), torch.zeros(8, 0))


def gradients_by_phase(subject):
    """Run each phase on the same weights, and return the gradients that it leaves."""
    [round_] = subject._rounds(new_batch())
    stream, found = subject.streams[-1], {}
    fakes = {name: reals.flip(2) for name, reals in round_.reals.items()}
    phases = {
        "G": lambda: subject.train_generator([round_]),
        "G_reg": lambda: subject.regularize_generator([round_]),
        "D": lambda: subject.train_discriminator(stream, [round_], [fakes]),
        "D_reg": lambda: subject.regularize_discriminator(stream, [round_]),
    }
    for optimizer in (subject.optimizer_g, stream.optimizer):
        optimizer.step = lambda: None
    for phase, run in phases.items():
        run()
        network = subject.G if phase.startswith("G") else stream.D
        named = network.trainable_parameters().items()
        found |= {f"{phase} {name}": weight.grad.cpu() for name, weight in named if weight.grad is not None}
    return found


def assert_same_gradients(actual, expected, rtol):
    """A gradient of zeros may be absent: with path lengths, the last bias has one by kernels alone."""
    both, either = actual.keys() & expected.keys(), actual | expected
    assert len(both) > 40 and not any(either[name].any() for name in either.keys() - both)
    for name in both:
        if expected[name].abs().max() > 1e-6:
            assert_close(actual[name], expected[name], rtol, what=name)


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("aug", ["none", "ada"])
def test_gradients_are_those_of_the_cpu(base, monkeypatch, variant, aug):
    monkeypatch.setattr(trainer, "BatchRandom", HostDraws)
    subjects = [new_trainer(base, device, variant=variant, augment={"mode": aug}) for device in (GPU, CPU)]
    assert_same_gradients(*map(gradients_by_phase, subjects), rtol=2e-3)


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_step_never_waits(base, variant, dtype):
    """Once everything has been compiled, allocated and tuned."""
    subject, batch = new_trainer(base, GPU, dtype, variant), new_batch().pin_memory()
    for _ in range(4):  # every kind of phase, and adjustments of the augmentation
        subject.step(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            subject.step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    subject.guard.check(subject.networks())
    assert subject.optimizer_g.param_groups[0]["fused"]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_features_stay_channels_last(base, dtype):
    subject = new_trainer(base, GPU, dtype, augment={"mode": "none"})
    [round_] = subject._rounds(new_batch())
    with Layouts(second_order=False) as layouts:
        subject.train_generator([round_])
    assert layouts.convolutions > 15
    assert not {found for found in layouts.found if not is_known("released", "G", *found)}


@pytest.mark.parametrize("run", [{"cuda_graphs": "passes"}, {"compile": True}], ids=str)
def test_passes_of_other_kinds_have_the_same_gradients(base, monkeypatch, run):
    monkeypatch.setattr(trainer, "BatchRandom", HostDraws)
    subjects = [new_trainer(base, GPU, run=run, augment={"mode": "none"}) for run in (run, {})]
    for _ in range(2):  # the second time, graphs are replayed
        assert_same_gradients(*map(gradients_by_phase, subjects), rtol=2e-3)


@pytest.mark.parametrize("graphs", ["passes", "phases"])
@pytest.mark.parametrize("aug", ["none", "ada"])
@pytest.mark.parametrize("degrad_only", [False, True])
def test_graphed_steps_train_as_eager_ones_do(base, graphs, aug, degrad_only):
    """Several steps, so that graphs are replayed with other images, codes and weights than they were recorded with."""
    weights = []
    for run in ({"cuda_graphs": graphs}, {}):
        changes = {"train_degrad_only": degrad_only, "augment": {"mode": aug}}
        subject = new_trainer(base, GPU, variant="paper+", run=run, **changes)
        for _ in range(6):
            subject.step(new_batch())
        weights.append({name: weight.detach().cpu() for name, weight in subject.G.trainable_parameters().items()})
    for name, weight in weights[1].items():
        assert_close(weights[0][name], weight, rtol=2e-2, what=name)
