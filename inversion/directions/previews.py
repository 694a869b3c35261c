"""Previews of directions: figures with a row for each direction and seed, and a column for each strength."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
import tqdm
from torch import Tensor

from generation.quality_codes import random_code
from images.figures import check_grid_size, labelled_grid
from images.ranges import to_uint8
from inversion.directions.direction import Direction
from inversion.directions.editing import edited_images
from inversion.directions.w_samples import sample_w
from networks.generators.interface import Generator
from networks.latents import Latents

STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
LARGEST_TILE = 256  # pixels; larger images are shrunk


def check_preview_size(rows: int, resolution: int) -> None:
    """Raise UserError when a figure of `rows` rows of images of side `resolution` would be too large."""
    check_grid_size(rows, len(STRENGTHS), min(resolution, LARGEST_TILE))


@torch.no_grad()
def preview(
    G: Generator, directions: Sequence[Direction], seeds: Sequence[int], class_index: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return two figures uint8 `[H, W, C]`: of sharp images, and of the same with the first degradation of their seeds.

    The second figure is None for a plain network.
    """
    ws = sample_w(G, seeds, class_index)[:, None].expand(-1, G.num_ws, -1)  # [N, num_ws, w_dim]
    q = None
    if G.q_dim > 0:
        q = torch.from_numpy(np.concatenate([random_code(seed, G.q_dim) for seed in seeds])).to(ws)  # [N, q_dim]
    latents = Latents(ws, q=q)
    rows = [(direction, index) for direction in directions for index in range(len(seeds))]
    degraded_rows, sharp_rows = [], []
    for direction, index in tqdm.tqdm(rows, desc="preview", unit="row", disable=None):
        degraded, sharp = _row(G, latents.row(index), direction)
        degraded_rows.append(to_uint8(degraded))
        sharp_rows.append(to_uint8(sharp))
    labels = [f"{direction.name}, seed {seeds[index]}" for direction, index in rows]
    columns = [f"{strength:+g}" if strength else "0" for strength in STRENGTHS]
    sharp_figure = labelled_grid(np.stack(sharp_rows), labels, columns)
    return sharp_figure, None if q is None else labelled_grid(np.stack(degraded_rows), labels, columns)


def _row(G: Generator, latents: Latents, direction: Direction) -> tuple[Tensor, Tensor]:
    """Return one image at all strengths, degraded and sharp, `[strengths, C, tile, tile]` each."""
    strengths = torch.tensor(STRENGTHS, device=latents.ws.device)
    degraded, sharp = edited_images(G, latents.repeat(len(STRENGTHS)), direction, strengths)  # [strengths, C, R, R]
    factor = max(1, G.img_resolution // LARGEST_TILE)
    return F.avg_pool2d(degraded.float(), factor), F.avg_pool2d(sharp.float(), factor)
