"""The parts of a training step; whole steps: what time device and host take, and where it goes; the memory."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import now
from images.datasets.batches import Batch
from torch_utils.memory import peak_memory
from training.config import LossConfig
from training.trainer import Trainer

WARM_UP = {"cuda": 4}  # steps before those that are timed, by type of device; 1 elsewhere
ROWS = 40  # rows of a profile


@dataclass(frozen=True)
class StepTiming:
    """What a step takes, on average over several.

    Attributes:
        seconds: seconds from one step to the next.
        host_seconds: until the host has launched it. A GPU's queue holds about a thousand launches, then the host waits
            for it: a host that is much quicker than its GPU takes nearly as long.
        peak_memory: bytes, largest in any of them; that of the process on a CPU.
    """

    seconds: float
    host_seconds: float
    peak_memory: int


def random_batch(trainer: Trainer) -> Batch:
    """Return random images, sharp and degraded, in memory from which a GPU copies without a wait."""
    side, channels = trainer.images.resolution, trainer.images.channels
    images = torch.randint(0, 256, (trainer.config.batch, channels, side, side), dtype=torch.uint8)
    batch = Batch(images, images, torch.zeros(len(images), 0))
    return batch.pin_memory() if _is_gpu(trainer) else batch


def phases(trainer: Trainer) -> dict[str, Callable[[], object]]:
    """Return each phase of the step on random images, by name."""
    rounds = list(trainer._rounds(random_batch(trainer)))
    fakes = [trainer.make_fakes(round_) for round_ in rounds]
    found: dict[str, Callable[[], object]] = {}

    def add(name: str, function: Callable[..., object], *arguments: object) -> None:
        found[name] = partial(trainer.phases.run, name, function, *arguments)

    add("G", trainer.train_generator, rounds)
    add("G_reg", trainer.regularize_generator, rounds)
    if not trainer.config.loss.share_fakes:
        add("fakes", trainer.make_all_fakes, rounds)
    for stream in trainer.streams:
        add(f"D_{stream.name}", partial(trainer.train_discriminator, stream), rounds, fakes)
        add(f"D_{stream.name}_reg", partial(trainer.regularize_discriminator, stream), rounds)
    return found


def interval_of(phase: str, loss: LossConfig) -> int:
    """Return how many steps a phase runs once in."""
    if not phase.endswith("_reg"):
        return 1
    return loss.pl_interval if phase == "G_reg" else loss.r1_interval


def time_steps(trainer: Trainer, count: int) -> StepTiming:
    """Time `count` steps in a row; the interval of R1 gives every phase its share."""
    device, batch = trainer.world.device, random_batch(trainer)
    for _ in range(WARM_UP.get(device.type, 1)):
        trainer.step(batch)
    gc.collect()  # so that earlier trainers are gone
    if _is_gpu(trainer):
        torch.cuda.reset_peak_memory_stats(device)
    start = now(device)
    for _ in range(count):
        trainer.step(batch)
    launched = time.perf_counter()
    end = now(device)
    return StepTiming((end - start) / count, (launched - start) / count, peak_memory(device))


def profile_steps(trainer: Trainer, path: str, title: str) -> None:
    """Append a table of two steps to a file; the first of them regularises the generator, R1 is in neither."""
    batch = random_batch(trainer)
    trainer.steps = trainer.config.loss.pl_interval
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if _is_gpu(trainer) else [])]
    now(trainer.world.device)
    with profile(activities=activities) as profiler:
        for _ in range(2):
            trainer.step(batch)
        now(trainer.world.device)
    key = "self_device_time_total" if _is_gpu(trainer) else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=key, row_limit=ROWS, max_name_column_width=90)
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{title}: two steps, the first with path lengths, none with R1\n{table}\n")


def _is_gpu(trainer: Trainer) -> bool:
    return trainer.world.device.type == "cuda"
