"""The sheets of images that a run draws of its data and of what it has learned."""

from pathlib import Path

import numpy as np
import torch

from images.datasets.dataset import ImageDataset
from images.ranges import to_uint8
from images.sheets import save_png, sheet, sheet_size
from networks.generators.interface import Generator
from torch_utils.purposes import FOR_SAMPLE_SHEET
from torch_utils.seeding import BatchRandom
from training.run_directory import RunDirectory

AT_ONCE = 32  # fakes in one pass through the network


def draw_reals(directory: RunDirectory, dataset: ImageDataset, seed: int) -> list[Path]:
    """Write `reals.png`, and `reals-degraded.png` where the dataset degrades; return the paths."""
    columns, rows = sheet_size(dataset.resolution)
    indices = [i * len(dataset) // (columns * rows) for i in range(columns * rows)]
    if dataset.degradation is None:
        sheets = {"reals.png": [dataset.image(i) for i in indices]}
    else:
        sharp, degraded = zip(*(dataset.pair(i, (seed, i)) for i in indices), strict=True)
        sheets = {"reals.png": sharp, "reals-degraded.png": degraded}
    for name, images in sheets.items():
        save_png(directory.path / name, sheet(np.stack(images).transpose(0, 2, 3, 1), columns))
    return [directory.path / name for name in sheets]


@torch.no_grad()
def draw_fakes(directory: RunDirectory, dataset: ImageDataset, G: Generator, seed: int, images_seen: int) -> list[Path]:
    """Write `fakes<kimg>.png`, of the same latents each time; a QC generator also draws them through quality codes.

    Returns the paths.
    """
    columns, rows = sheet_size(dataset.resolution)
    count, device = columns * rows, G.device
    rng = BatchRandom((seed, FOR_SAMPLE_SHEET), count, device=device)
    z = rng.randn(G.z_dim)
    codes = {"": None, "-degraded": rng.randn(G.q_dim)} if G.q_dim > 0 else {"": None}
    c = torch.from_numpy(np.stack([dataset.label(i % len(dataset)) for i in range(count)])).to(device)
    paths = []
    for suffix, q in codes.items():
        images = []
        for part in (slice(i, i + AT_ONCE) for i in range(0, count, AT_ONCE)):
            quality = {} if q is None else {"q": q[part]}
            images.append(to_uint8(G(z[part], c[part], noise_mode="const", **quality)))
        paths.append(directory.path / f"fakes{directory.moment(images_seen)}{suffix}.png")
        save_png(paths[-1], sheet(np.concatenate(images), columns))
    return paths
