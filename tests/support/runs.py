"""Tiny training runs for tests: 16x16 images, networks of 16 channels, batches of 8."""

import json
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from dnnlib.config import from_dict, to_dict
from images.datasets.batches import TrainingBatches
from networks.config import QualityConfig
from networks.files import ImageFormat, build_discriminator, build_generator, save_network
from tests.support import small  # noqa: F401 - makes sheets of images small
from tests.support.networks import SMALL, SMALL_D
from torch_utils.distributed import World
from training import loop
from training.config import TrainConfig
from training.loop import image_format, open_dataset
from training.trainer import Trainer

ROOT = Path(__file__).parents[2]
IMAGES = ImageFormat(16, 3, 0)
ALONE = World(0, 1, torch.device("cpu"))


def write_images(path, count=12, side=16):
    """Write a zip of random square images."""
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            archive.writestr(f"img{index:02d}.png", png(index, side))
    return path


def png(seed, side=16):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)  # so that degradations have an effect
    buffer = BytesIO()
    PIL.Image.fromarray(coarse).resize((side, side), PIL.Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def write_base(path):
    """Write a base network whose weights, noise strengths and `w_avg` all have an effect."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        G, D = build_generator(SMALL, IMAGES), build_discriminator(SMALL_D, IMAGES)
        with torch.no_grad():
            for parameter in [*G.parameters(), *D.parameters()]:
                parameter.add_(0.1 * torch.randn_like(parameter))
            G.mapping.w_avg.normal_()
    save_network(path, G, {"sharp": D}, {"kimg": 0, "mode": "base"})
    return path


def tiny_config(data, init_from=None, **changes):
    """Return the configuration of a tiny run, in mode qc where `init_from` is given.

    `changes` are nested: `loss={"pl_weight": 0.0}`.
    """
    quality = QualityConfig(q_dim=4, channels=8)
    values = {
        "mode": "base" if init_from is None else "qc",
        "init_from": None if init_from is None else str(init_from),
        "batch": 8,
        "generator": to_dict(SMALL) | {"quality": None if init_from is None else to_dict(quality)},
        "discriminator": to_dict(SMALL_D),
        "data": {"path": str(data), "mirror": True},
        "loss": {"pl_interval": 2, "r1_interval": 3},
        "augment": {"p": 0.3, "interval": 2, "kimg": 1.0},
        "ema": {"kimg": 0.05},
        "run": {"workers": 0, "device": "cpu", "kimg": 1.0},
    }
    return from_dict(TrainConfig, _merge(values, changes))


def _merge(values, changes):
    merged = dict(values)
    for name, change in changes.items():
        merged[name] = _merge(merged[name], change) if isinstance(change, dict) and merged.get(name) else change
    return merged


def new_trainer(config, world=ALONE):
    return Trainer(config, image_format(open_dataset(config)), world)


def batches(config, start=0, world=ALONE):
    """Return a fresh stream of this process's share of the batches."""
    share = config.batch // world.size
    rows = slice(world.rank * share, (world.rank + 1) * share)
    return iter(TrainingBatches(open_dataset(config), config.batch, rows, config.seed, start))


def train(trainer, steps):
    """Take some steps on a fresh stream that begins where the trainer is."""
    stream = batches(trainer.config, trainer.images_seen, trainer.world)
    for _ in range(steps):
        trainer.step(next(stream))
    return trainer


def run_here(config, outdir):
    """Run the training loop in this process, and leave the processor as it was."""
    try:
        loop.train(ALONE, config, outdir)
    finally:
        torch.set_flush_denormal(False)


def first_round(trainer):
    [round_] = trainer._rounds(next(batches(trainer.config, trainer.images_seen)))
    return round_


def wake(trainer):
    """Make noise and DegradBlocks of the generator have an effect, and move what trains away from the teacher.

    All is drawn on the CPU, so that it is the same on every device.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(2)
        for name, parameter in trainer.G.trainable_parameters().items():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
            elif "convq" in name:
                parameter.copy_(torch.randn(parameter.shape))
            else:
                parameter.add_(0.05 * torch.randn(parameter.shape).to(parameter.device))
    return trainer


def flatten(state, prefix=""):
    """Return nested dicts and lists as one dict from dotted names to leaves."""
    if not isinstance(state, (dict, list, tuple)):
        return {prefix: state}
    items = state.items() if isinstance(state, dict) else enumerate(state)
    return {name: leaf for key, value in items for name, leaf in flatten(value, f"{prefix}.{key}").items()}


def snapshot(module_or_state):
    """Return copies of all tensors and numbers of a module or a state, by name."""
    state = module_or_state.state_dict() if hasattr(module_or_state, "state_dict") else module_or_state
    return {name: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for name, leaf in flatten(state).items()}


def changed(before, after):
    """Return the names whose bits differ between two snapshots."""
    assert before.keys() == after.keys(), before.keys() ^ after.keys()
    return {name for name in before if not _same(before[name], after[name])}


def _same(a, b):
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def tiny_command(outdir, data, init_from, *extra):
    """Return the arguments of `train.py` for a tiny run in mode qc."""
    settings = {
        "generator.quality.q_dim": 4,
        "generator.quality.channels": 8,
        "discriminator.mbstd_group_size": 1,
        "augment.interval": 2,
        "augment.kimg": 1,
        "loss.pl_interval": 2,
        "loss.r1_interval": 3,
        "ema.kimg": 0.05,
        "run.state_ticks": 2,
    }
    return [
        *["train.py", f"--outdir={outdir}", f"--data={data}", "--mode=qc", f"--init-from={init_from}"],
        *["--batch=8", "--precision=fp32", "--device=cpu", "--workers=0", "--mirror", "--aug-p=0.3", "--gamma=0.5"],
        *[f"--set={name}={value}" for name, value in settings.items()],
        *extra,
    ]


def wait_for_images(process, outdir, images):
    """Wait until a run has reported that many images."""
    while not any(record["images_seen"] >= images for record in read_stats(outdir)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def read_stats(outdir):
    """Return the complete lines of `stats.jsonl`, without what differs from run to run."""
    path = Path(outdir) / "stats.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    varying = ("time", "Timing/", "Resources/")
    return [{k: v for k, v in record.items() if not k.startswith(varying)} for record in records]
