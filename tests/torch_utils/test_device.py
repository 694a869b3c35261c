"""A training step asks nothing of the device that would make the host wait, and leaves nothing on another device."""

import pytest
import torch

from benchmarks.training.memory import META, ShapesOfRandom
from images.datasets.batches import Batch
from tests.support.runs import IMAGES, tiny_config
from torch_utils.distributed import World
from training import trainer


@pytest.mark.parametrize(
    # That of the paper in fp32 is looked at within the loop, by tests/training/test_step.py.
    ("variant", "dtype", "batch_gpu"),
    [(None, "fp16", 4), ("released", "bf16", 8)],
)
def test_a_step_reads_no_values(monkeypatch, run_files, variant, dtype, batch_gpu):
    """The first one includes every kind of phase, and here an adjustment of the augmentation."""
    monkeypatch.setattr(trainer, "BatchRandom", ShapesOfRandom)
    base = None if variant is None else run_files[1]
    precision = {"precision": {"dtype": dtype, "blocks": 1}}
    quality = {} if variant is None else {"quality": {"variant": variant}}
    # The fused optimizer has no kernel for this device.
    run, augment = {"fused_optimizer": False, "batch_gpu": batch_gpu}, {"interval": 1}
    config = tiny_config("", base, run=run, augment=augment, generator=precision | quality, discriminator=precision)
    subject = trainer.Trainer(config, IMAGES, World(0, 1, META))
    images = torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    subject.step(Batch(images, images, torch.zeros(8, 0)))
    for network in subject.networks().values():
        assert {parameter.device for parameter in network.parameters()} == {META}
    assert {sums.device for sums in subject.statistics.sums.read().values()} == {META}
