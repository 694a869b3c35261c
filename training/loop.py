"""The training loop: fetch, step, and at intervals report, draw, save."""

import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from dnnlib.log import RunLog
from torch_utils.distributed import World
from torch_utils.memory import keep_freed_memory
from torch_utils.seeding import BatchRandom
from training.config import TrainConfig
from training.dataset import ImageDataset, TrainingBatches
from training.grids import save_png, sheet, sheet_size, to_uint8
from training.networks import ImageFormat, save_network
from training.run_directory import RunDirectory
from training.trainer import Trainer

# Called in every process at each snapshot: (network file, its EMA generator, images seen) -> lines for the log.
SnapshotHook = Callable[[Path, torch.nn.Module, int], list[str]]


def open_dataset(config: TrainConfig) -> ImageDataset:
    """Return the images that a configuration names."""
    data = config.data
    return ImageDataset(
        data.path,
        resolution=data.resolution,
        mirror=data.mirror,
        subset=data.subset,
        use_labels=data.use_labels,
        seed=config.seed,
        on_bad_image=config.run.on_bad_image,
        degradation=data.degradation if config.mode == "qc" else None,
    )


def image_format(dataset: ImageDataset) -> ImageFormat:
    """Return what the networks must agree on with the data."""
    return ImageFormat(dataset.resolution, dataset.channels, dataset.label_dim)


def train(world: World, config: TrainConfig, outdir: str, on_snapshot: SnapshotHook | None = None) -> None:
    """Train until `config.run.kimg`, or until SIGTERM or SIGINT; continue where `outdir` holds a training state."""
    _prepare_process(config, world)
    dataset = open_dataset(config)
    directory = RunDirectory(outdir)
    trainer = Trainer(config, image_format(dataset), world)
    if world.is_first:
        directory.prepare(config)
    world.barrier()
    state = directory.load_state()
    if state is not None:
        trainer.load_state_dict(state["trainer"])
    _Loop(world, config, directory, dataset, trainer, on_snapshot, resumed=state is not None).run()


class StopRequest:
    """Notes SIGTERM and SIGINT, so that the loop can save before it ends."""

    def __init__(self):
        self.signal: int | None = None
        self.previous = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self.previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        self.signal = number


class _Loop:
    """A run in progress, in one process."""

    def __init__(self, world, config, directory, dataset, trainer, on_snapshot, resumed):
        self.world, self.config, self.directory = world, config, directory
        self.dataset, self.trainer, self.on_snapshot = dataset, trainer, on_snapshot
        self.total = int(config.run.kimg * 1000)
        self.tick_images = max(config.batch, int(config.run.kimg_per_tick * 1000))
        self.log = RunLog(
            directory.path / "log.txt" if world.is_first else None,
            total=config.run.kimg,
            initial=trainer.images_seen / 1000,
            unit="kimg",
        )
        self.events = None
        if world.is_first:
            self.events = SummaryWriter(str(directory.path), purge_step=trainer.images_seen if resumed else None)
            directory.forget_stats_after(trainer.images_seen if resumed else -1)
        self.resumed = resumed
        self.tick_start = time.perf_counter(), trainer.images_seen

    def run(self) -> None:
        """Train to the end or to a signal."""
        trainer = self.trainer
        if self.resumed:
            self.log.line(f"Continuing at {trainer.images_seen / 1000:.1f} kimg")
        else:
            self.log.line(f"Training on {self.dataset.num_images} images of {self.dataset.name}")
            self._draw_reals()
        try:
            with StopRequest() as stop:
                if trainer.images_seen < self.total:
                    self._train(stop)
                else:
                    self.log.line(f"Nothing to do: the run has its {self.config.run.kimg:g} kimg; raise --kimg")
        finally:
            self.log.close()
            if self.events is not None:
                self.events.close()

    def _train(self, stop):
        trainer = self.trainer
        first = self.world.rank * trainer.share
        batches = TrainingBatches(
            self.dataset,
            self.config.batch,
            slice(first, first + trainer.share),
            self.config.seed,
            start=trainer.images_seen,
            workers=self.config.run.workers,
            pin_memory=self.world.device.type == "cuda",
        )
        if not self.resumed:
            self._draw_fakes()
        for batch in batches:
            trainer.step(batch)
            self.log.advance(self.config.batch / 1000)
            stopping = self.world.any(stop.signal is not None)
            done = trainer.images_seen >= self.total
            if trainer.images_seen // self.tick_images != (trainer.images_seen - self.config.batch) // self.tick_images:
                self._tick(trainer.images_seen // self.tick_images, done)
            elif self.world.device.type == "cpu":
                trainer.guard.check({})
            if done or stopping:
                break
        self._finish(done, stop)

    def _tick(self, tick, done):
        run = self.config.run
        self.trainer.guard.check(self.trainer.networks())
        self._report()
        if tick % run.image_ticks == 0 and not done:
            self._draw_fakes()
        if tick % run.snapshot_ticks == 0 and not done:
            self._save_network()
        if tick % run.state_ticks == 0 and not done:
            self._save_state()  # last: what could not be written before is made anew by the same command

    def _finish(self, done, stop):
        self.trainer.guard.check(self.trainer.networks())
        if done:
            self._draw_fakes()
            self._save_network()
        self._save_state()  # last: what could not be written before is made anew by the same command
        if done:
            self.log.line(f"Done: {self.directory.network_path(self.trainer.images_seen)}")
        else:
            name = signal.Signals(stop.signal).name if stop.signal else "a signal"
            self.log.line(
                f"Stopped by {name} at {self.trainer.images_seen / 1000:.1f} kimg; everything is saved, "
                "the same command continues"
            )

    def _report(self):
        """One line a tick, and the same numbers as JSON and TensorBoard events."""
        trainer = self.trainer
        seconds, images = time.perf_counter() - self.tick_start[0], trainer.images_seen - self.tick_start[1]
        self.tick_start = time.perf_counter(), trainer.images_seen
        means = trainer.statistics.read(self.world.sum)
        for stream in trainer.streams:
            if stream.augment is not None:
                means[f"Progress/augment/{stream.name}"] = stream.augment.p.item()
        means["Timing/sec_per_kimg"] = seconds / max(images, 1) * 1000
        means["Resources/peak_memory_gb"] = peak_memory(self.world.device) / 2**30
        if not self.world.is_first:
            return
        self.log.line(_tick_line(trainer.images_seen, means))
        self.directory.append_stats({"images_seen": trainer.images_seen, "time": time.time(), **means})
        for name, value in means.items():
            self.events.add_scalar(name, value, trainer.images_seen)
        self.events.flush()

    def _save_state(self):
        state = self.trainer.state_dict()  # every process brings its counts
        if self.world.is_first:
            self.directory.save_state({"trainer": state})
        self.world.barrier()

    def _save_network(self):
        trainer, path = self.trainer, self.directory.network_path(self.trainer.images_seen)
        if self.world.is_first:
            discriminators = {stream.name: stream.D for stream in trainer.streams}
            provenance = {
                "kimg": trainer.images_seen / 1000,
                "mode": self.config.mode,
                "data": {"name": self.dataset.name, "images": self.dataset.num_images, "mirror": self.dataset.mirror},
                "degradation": self.config.data.degradation if self.config.mode == "qc" else None,
                "licence": self.config.data.licence,
            }
            save_network(path, trainer.G_ema, discriminators, provenance)
            self.directory.prune_networks(self.config.run.keep_snapshots, self.log.line)
        self.world.barrier()
        if self.on_snapshot is not None:
            for line in self.on_snapshot(path, trainer.G_ema, trainer.images_seen):
                self.log.line(line)

    def _draw_reals(self):
        if not self.world.is_first:
            return
        columns, rows = sheet_size(self.dataset.resolution)
        indices = [i * len(self.dataset) // (columns * rows) for i in range(columns * rows)]
        if self.config.mode == "qc":
            pairs = [self.dataset.pair(i, (self.config.seed, i)) for i in indices]
            self._save_sheet("reals.png", [sharp for sharp, _ in pairs], columns)
            self._save_sheet("reals-degraded.png", [degraded for _, degraded in pairs], columns)
        else:
            self._save_sheet("reals.png", [self.dataset.image(i) for i in indices], columns)

    def _save_sheet(self, name, images, columns):
        images = torch.stack([torch.from_numpy(image) for image in images])
        save_png(self.directory.path / name, sheet(images.permute(0, 2, 3, 1).numpy(), columns))

    @torch.no_grad()
    def _draw_fakes(self):
        """Draw what the average makes of the same latents each time; in mode qc also with each one's quality code."""
        if not self.world.is_first:
            return
        G, device = self.trainer.G_ema, self.world.device
        columns, rows = sheet_size(self.dataset.resolution)
        count, step = columns * rows, min(32, self.trainer.batch_gpu)
        rng = BatchRandom((self.config.seed, 1), count, device=device)
        z, q = rng.randn(G.z_dim), rng.randn(getattr(G, "q_dim", 1))
        labels = torch.stack([torch.from_numpy(self.dataset.label(i % len(self.dataset))) for i in range(count)])
        kimg = f"{self.trainer.images_seen // 1000:06d}"
        names = {"": None} if self.config.mode == "base" else {"": None, "-degraded": q}
        for suffix, quality in names.items():
            images = []
            for part in (slice(i, i + step) for i in range(0, count, step)):
                ws = G.mapping(z[part], labels[part].to(device))
                codes = {} if quality is None else {"q": quality[part]}
                images.append(to_uint8(G.synthesis(ws, noise_mode="const", **codes)))
            save_png(self.directory.path / f"fakes{kimg}{suffix}.png", sheet(np.concatenate(images), columns))


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that the run has held at once: on the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _prepare_process(config, world):
    if world.device.type == "cpu":
        keep_freed_memory()
        torch.set_flush_denormal(True)
    else:
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def _tick_line(images_seen, means):
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
