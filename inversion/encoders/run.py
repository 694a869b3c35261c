"""The files of a run that trains an encoder, its lines of the log, and its sheets of photos."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from images.datasets.dataset import ImageDataset
from images.ranges import from_levels, to_uint8
from images.sheets import save_png, sheet
from inversion.encoders.config import EncoderConfig, defining
from inversion.encoders.encoder import Encoder
from inversion.encoders.pairs import reconstruct
from networks.generators.interface import Generator
from torch_utils.purposes import EncoderPurpose
from training.report import STREAMS, Column, TickLine
from training.run_directory import RunDirectory

GRID_PHOTOS = 16
GRID_COLUMNS = 2  # photos in a row


class EncoderRunDirectory(RunDirectory):
    """Names, reads and writes the files in the directory of an encoder's run.

    `config.json`, `log.txt`, `stats.jsonl`, TensorBoard events, `grid<kimg>.png`, `encoder-<kimg>.safetensors`,
    `training-state.pt`.
    """

    config_class = EncoderConfig
    network_name = "encoder"
    drawings = ("grid*.png",)

    def grid_path(self, images_seen: int) -> Path:
        """Return the path of the sheet of photos of this moment."""
        return self.path / f"grid{self.moment(images_seen)}.png"

    @staticmethod
    def defining(config: EncoderConfig) -> EncoderConfig:
        """Return the part of a configuration that must stay the same when the run is continued."""
        return defining(config)


def _columns(means: Mapping[str, float]) -> Sequence[Column]:
    """Return the columns of a tick: the sum, what sharp and degraded images have in common, and the other terms."""
    names = [name.removeprefix("Loss/") for name in means if name.startswith("Loss/")]
    of_images = dict.fromkeys(term for side, _, term in (name.partition("/") for name in names) if side in STREAMS)
    pairs = [(term, [f"Loss/{side}/{term}" for side in STREAMS]) for term in of_images]
    others = [name for name in names if name != "total" and name.partition("/")[0] not in STREAMS]
    return [("total", ["Loss/total"]), *pairs, *((name, [f"Loss/{name}"]) for name in others)]


ENCODER_TICKS = TickLine("Ticks: terms of the loss, of sharp/degraded images. All: stats.jsonl", _columns)


@torch.no_grad()
def draw_grid(path: str | os.PathLike, dataset: ImageDataset, encoder: Encoder, G: Generator, seed: int) -> None:
    """Write the same photos each time: degraded, its reconstruction, restored, sharp; two photos in a row.

    For a plain generator: photo, reconstruction.
    """
    indices = [i * dataset.num_images // GRID_PHOTOS for i in range(GRID_PHOTOS)]
    if dataset.degradation is None:
        photos = _stack([dataset.image(i) for i in indices])  # uint8 [N, C, R, R]
        reconstruction, _ = reconstruct(G, encoder(_to_device(photos, G.device)))
        columns = [_channels_last(photos), to_uint8(reconstruction)]
    else:
        pairs = [dataset.pair(i, (seed, EncoderPurpose.GRID, i)) for i in indices]
        sharp = _stack([sharp for sharp, _ in pairs])
        degraded = _stack([degraded for _, degraded in pairs])
        restored, reconstruction = reconstruct(G, encoder(_to_device(degraded, G.device)))
        columns = [_channels_last(degraded), to_uint8(reconstruction), to_uint8(restored), _channels_last(sharp)]
    tiles = np.stack(columns, axis=1)  # [photos, columns, H, W, C]
    save_png(path, sheet(tiles.reshape(-1, *tiles.shape[2:]), GRID_COLUMNS * len(columns)))


def _stack(images: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images))


def _to_device(images: Tensor, device: torch.device) -> Tensor:
    """Return uint8 images as float32 in [-1, 1] on a device."""
    return from_levels(images.to(device, non_blocking=True))


def _channels_last(images: Tensor) -> np.ndarray:
    """Return uint8 `[N, C, H, W]` as `[N, H, W, C]`."""
    return images.permute(0, 2, 3, 1).numpy()
