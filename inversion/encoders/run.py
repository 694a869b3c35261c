"""The files of a run that trains an encoder, and what the run tells about itself."""

import os
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from dnnlib.log import RunLog
from images.datasets.dataset import ImageDataset
from images.ranges import from_levels, to_uint8
from images.sheets import save_png, sheet
from inversion.encoders.config import EncoderConfig, defining
from inversion.encoders.encoder import Encoder
from inversion.encoders.pairs import reconstruct
from networks.generators.interface import Generator
from torch_utils.memory import peak_memory
from torch_utils.purposes import EncoderPurpose
from torch_utils.stats import Statistics
from training.run_directory import RunDirectory

GRID_PHOTOS, GRID_COLUMNS = 16, 2


class EncoderRunDirectory(RunDirectory):
    """`config.json`, `log.txt`, `stats.jsonl`, TensorBoard events, `grid<kimg>.png`, `encoder-<kimg>.safetensors`,
    `training-state.pt`."""

    config_class = EncoderConfig
    network_name = "encoder"

    def grid_path(self, images_seen: int) -> Path:
        """Where the images of this moment go."""
        return self.path / f"grid{images_seen // 1000:06d}.png"

    @staticmethod
    def defining(config: EncoderConfig) -> EncoderConfig:
        """Return the part of a configuration that must stay the same when the run is continued."""
        return defining(config)


class EncoderReport:
    """The outputs of a run: console and log file, `stats.jsonl`, TensorBoard events.

    Args:
        directory: of the run.
        kimg: length of the run, for the progress bar.
        images_seen: where the run goes on; later statistics of an interrupted run are dropped.
    """

    def __init__(self, directory: EncoderRunDirectory, kimg: float, images_seen: int):
        self.directory = directory
        self.log = RunLog(directory.path / "log.txt", total=kimg, initial=images_seen / 1000, unit="kimg")
        directory.forget_stats_after(images_seen or -1)
        self.events = SummaryWriter(str(directory.path), purge_step=images_seen or None)
        self.last = time.perf_counter(), images_seen

    def line(self, text: str) -> None:
        """Print one line and keep it."""
        self.log.line(text)

    def advance(self, images: int) -> None:
        """Move the progress bar."""
        self.log.advance(images / 1000)

    def tick(self, statistics: Statistics, images_seen: int, device: torch.device) -> None:
        """Print one line, and write the same numbers as JSON and events."""
        (before, images), now = self.last, time.perf_counter()
        self.last = now, images_seen
        means = statistics.read()
        means["Timing/sec_per_kimg"] = (now - before) / max(images_seen - images, 1) * 1000
        means["Resources/peak_memory_gb"] = peak_memory(device) / 2**30
        columns = [f"kimg {images_seen / 1000:.1f}", f"{means['Timing/sec_per_kimg']:.1f} s/kimg"]
        columns += [f"{k.removeprefix('Loss/')} {v:.3g}" for k, v in means.items() if k.startswith("Loss/")]
        self.log.line(" | ".join(columns))
        self.directory.append_stats({"images_seen": images_seen, "time": time.time(), **means})
        for name, value in means.items():
            self.events.add_scalar(name, value, images_seen)
        self.events.flush()

    def close(self) -> None:
        """End the progress bar and close the files."""
        self.log.close()
        self.events.close()


@torch.no_grad()
def draw_grid(path: str | os.PathLike, dataset: ImageDataset, encoder: Encoder, G: Generator, seed: int) -> None:
    """Write the same photos each time: degraded, its reconstruction, restored, sharp; two photos in a row.

    For a plain generator: photo, reconstruction.
    """
    device = G.device
    indices = [i * dataset.num_images // GRID_PHOTOS for i in range(GRID_PHOTOS)]
    if dataset.degradation is None:
        sharp = _stack([dataset.image(i) for i in indices])
        latents = encoder(from_levels(sharp.to(device, non_blocking=True)))
        columns = [_rows(sharp), to_uint8(reconstruct(G, latents)[0])]
    else:
        sharp, degraded = zip(*(dataset.pair(i, (seed, EncoderPurpose.GRID, i)) for i in indices), strict=True)
        degraded = _stack(degraded)
        restored, reconstruction = reconstruct(G, encoder(from_levels(degraded.to(device, non_blocking=True))))
        columns = [_rows(degraded), to_uint8(reconstruction), to_uint8(restored), _rows(_stack(sharp))]
    tiles = np.stack(columns, axis=1)  # [photos, columns, H, W, C]
    save_png(path, sheet(tiles.reshape(-1, *tiles.shape[2:]), GRID_COLUMNS * len(columns)))


def _stack(images):
    return torch.from_numpy(np.stack(images))


def _rows(images):
    """Return uint8 `[N, C, H, W]` as `[N, H, W, C]`."""
    return images.permute(0, 2, 3, 1).numpy()
