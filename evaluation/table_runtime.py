"""Table 3 of the paper: seconds for an image."""

import statistics
import time

import torch

from evaluation.tables import EMPTY, Table
from torch_utils.distributed import World
from training.generation import Sampling, load, noise_of_seeds, render, ws_of_seeds
from training.networks_stylegan2 import Generator
from training.quality_codes import random_quality

# Mean and standard deviation in seconds at 256x256 and 512x512 (one V100).
PAPER = {"QC-StyleGAN": ("0.08 ± 0.01", "0.20 ± 0.04"), "pSp": ("0.13 ± 0.01", "0.11 ± 0.01")}
PAPER |= {"PTI-opt": ("83.40 ± 2.68", "222.29 ± 23.24")}
WARM_UP = 3


def runtime_table(world: World, network: str, runs: int, precision: str) -> Table:
    """Return the time for one degraded image, batch 1, from latent and quality code to pixels in memory."""
    G = load(network, world.device, precision)
    seconds = generation_seconds(G, runs)
    ours = f"{statistics.mean(seconds):.4f} ± {statistics.pstdev(seconds):.4f}"
    side = f"{G.img_resolution}x{G.img_resolution}"
    rows = [[name, ours if name == "QC-StyleGAN" else EMPTY, *paper] for name, paper in PAPER.items()]
    numbers = {"resolution": G.img_resolution, "seconds": seconds, "paper": PAPER, "device": str(world.device)}
    notes = [f"{runs} images, one at a time, on {device_name(world.device)}; the inversion's rows need an encoder."]
    title = "Table 3. Seconds for an image, mean and standard deviation"
    return Table("table3", title, ["", f"here, {side}", "paper, 256x256", "512x512"], rows, notes, numbers)


@torch.no_grad()
def generation_seconds(G: Generator, runs: int) -> list[float]:
    """Return the seconds of each of `runs` images, after a few that warm up; degraded where the network can."""
    device = next(G.parameters()).device
    sampling = Sampling(class_index=0 if G.c_dim > 0 else None)  # any class takes as long
    seconds = []
    for seed in range(WARM_UP + runs):
        _wait(device)
        started = time.perf_counter()
        q = None
        if hasattr(G, "q_dim"):
            q = torch.from_numpy(random_quality([seed], G.q_dim).codes).to(device)
        ws = ws_of_seeds(G, [seed], sampling)
        [image] = render(G, ws, [q], noise_of_seeds(G, [seed]))
        image.cpu()
        seconds.append(time.perf_counter() - started)
    return seconds[WARM_UP:]


def device_name(device: torch.device) -> str:
    """Return what a person calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)
