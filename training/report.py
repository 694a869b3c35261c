"""What a run tells about itself: console and log file, `stats.jsonl`, TensorBoard events."""

import time

from torch.utils.tensorboard import SummaryWriter

from dnnlib.log import RunLog
from torch_utils.distributed import World
from torch_utils.memory import peak_memory
from training.run_directory import RunDirectory
from training.trainer import Trainer


class Report:
    """The outputs of a run; in processes other than the first it stays silent.

    Args:
        world: this process's place among all.
        directory: of the run.
        kimg: length of the run, for the progress bar.
        images_seen: where the run goes on; later statistics of an interrupted run are dropped.
    """

    def __init__(self, world: World, directory: RunDirectory, kimg: float, images_seen: int):
        self.world, self.directory = world, directory
        path = directory.path / "log.txt" if world.is_first else None
        self.log = RunLog(path, total=kimg, initial=images_seen / 1000, unit="kimg")
        self.events = None
        if world.is_first:
            directory.forget_stats_after(images_seen or -1)
            self.events = SummaryWriter(str(directory.path), purge_step=images_seen or None)
        self.last = time.perf_counter(), images_seen

    def tick(self, trainer: Trainer) -> None:
        """Print one line, and write the same numbers as JSON and events; every process brings its counts."""
        (before, images), now = self.last, time.perf_counter()
        self.last = now, trainer.images_seen
        means = trainer.statistics.read(self.world.sum)
        for stream in trainer.streams:
            if stream.augment is not None:
                means[f"Progress/augment/{stream.name}"] = stream.augment.p.item()
        means["Timing/sec_per_kimg"] = (now - before) / max(trainer.images_seen - images, 1) * 1000
        means["Resources/peak_memory_gb"] = peak_memory(self.world.device) / 2**30
        if self.world.is_first:
            self.log.line(tick_line(trainer.images_seen, means))
            self.directory.append_stats({"images_seen": trainer.images_seen, "time": time.time(), **means})
            for name, value in means.items():
                self.events.add_scalar(name, value, trainer.images_seen)
            self.events.flush()

    def snapshot(self, lines: list[str], scalars: dict[str, float], images_seen: int) -> None:
        """Print what was found out about a snapshot; the time that it took is not counted as training."""
        for line in lines:
            self.log.line(line)
        if self.world.is_first:
            for name, value in scalars.items():
                self.events.add_scalar(name, value, images_seen)
            self.events.flush()
        self.last = time.perf_counter(), images_seen

    def close(self) -> None:
        """End the progress bar and close the files."""
        self.log.close()
        if self.events is not None:
            self.events.close()


def tick_line(images_seen: int, means: dict[str, float]) -> str:
    """Return `kimg 4.0 | 61.2 s/kimg | 1.9 GB | augment sharp 0.012 | G/sharp 0.71 | ...`."""
    columns = [
        f"kimg {images_seen / 1000:.1f}",
        f"{means['Timing/sec_per_kimg']:.1f} s/kimg",
        f"{means['Resources/peak_memory_gb']:.1f} GB",
    ]
    columns += [f"augment {n.rsplit('/', 1)[1]} {v:.3f}" for n, v in means.items() if n.startswith("Progress/augment")]
    shown = ("Loss/G/", "Loss/D/", "Loss/path", "Loss/r1")
    columns += [f"{name.removeprefix('Loss/')} {value:.3g}" for name, value in means.items() if name.startswith(shown)]
    return " | ".join(columns)
