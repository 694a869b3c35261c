"""The picture of a model card: some images of a network, sharp and, where it can, degraded below."""

import os

import numpy as np
import torch

from generation.quality_codes import random_code
from images.photos import from_network
from images.sheets import save_png, sheet
from networks.files import load_generator

COLUMNS = 6
TRUNCATION = 0.7


@torch.no_grad()
def draw_samples(network: str | os.PathLike, path: str | os.PathLike) -> None:
    """Write a sheet of the images of the first seeds as a PNG; of a network with classes, each of another class."""
    G, _ = load_generator(network)
    z = np.concatenate([np.random.RandomState(seed).randn(1, G.z_dim) for seed in range(COLUMNS)])
    ws = G.mapping(
        torch.from_numpy(z).float(), G.labels_in_turn(COLUMNS), truncation_psi=TRUNCATION
    )  # [N, num_ws, w_dim]
    rows = [G.synthesis(ws, noise_mode="const")]
    if G.q_dim:
        q = np.concatenate([random_code(seed, G.q_dim) for seed in range(COLUMNS)])  # [N, q_dim]
        rows.append(G.synthesis(ws, torch.from_numpy(q).float(), noise_mode="const"))
    save_png(path, sheet(np.concatenate([from_network(row.clamp(-1, 1)) for row in rows]), COLUMNS))
