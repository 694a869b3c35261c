"""Table 3 of the paper: seconds for an image."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from evaluation.tables.table import EMPTY, Table
from generation.quality_codes import random_quality
from generation.rendering import synthesize
from generation.sampling import Sampling, noise_of_seeds, ws_of_seeds
from inversion.encoders.encoder import Encoder
from inversion.encoders.files import load_encoder
from inversion.perceptual import default_perceptual
from inversion.pivotal_tuning import TuningOptions, tune
from networks.files import load
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.distributed import World

# Mean and standard deviation in seconds at 256x256 and 512x512 (one V100).
PAPER = {"QC-StyleGAN": ("0.08 ± 0.01", "0.20 ± 0.04"), "pSp": ("0.13 ± 0.01", "0.11 ± 0.01")}
PAPER |= {"PTI-opt": ("83.40 ± 2.68", "222.29 ± 23.24")}
WARM_UP = 3
TUNED = 5  # images that tuning is timed with


def runtime_table(world: World, network: str, encoder: str | None, runs: int, precision: str) -> Table:
    """Return the time for one degraded image, batch 1, from latent and quality code to pixels in memory.

    With an encoder also the times to invert such an image: its codes, and tuning as `invert.py` does it.
    """
    G = load(network, world.device, precision)
    seconds = {"QC-StyleGAN": generation_seconds(G, runs)}
    notes = [f"One image at a time on {device_name(world.device)}: {runs} generated."]
    if encoder is None:
        notes.append("The inversion's rows need --encoder.")
    else:
        if G.q_dim == 0:
            raise UserError(f"{network} is plain, but tuning is timed on degraded images; give a QC network")
        seconds |= inversion_seconds(G, load_encoder(encoder, network, G), runs)
        notes.append(f"Encoder: {runs} images. Tuning: {TUNED} images with the defaults of `invert.py restore`.")
    side = f"{G.img_resolution}x{G.img_resolution}"
    rows = [[name, _cell(seconds.get(name)), *paper] for name, paper in PAPER.items()]
    numbers = {"resolution": G.img_resolution, "seconds": seconds, "paper": PAPER, "device": str(world.device)}
    title = "Table 3. Seconds for an image, mean and standard deviation"
    return Table("table3", title, ["", f"here, {side}", "paper, 256x256", "512x512"], rows, notes, numbers)


def inversion_seconds(G: Generator, encoder: Encoder, runs: int) -> dict[str, list[float]]:
    """Return the seconds to invert each of some degraded images of the network's own, by stage."""
    perceptual = default_perceptual(G.device)
    seconds = {"pSp": [], "PTI-opt": []}
    for seed in range(WARM_UP + runs):
        image = _degraded_image(G, seed)
        spent, latents = _timed(partial(encoder, image), image.device)
        seconds["pSp"].append(spent)
        if WARM_UP <= seed < WARM_UP + TUNED:
            work = partial(tune, G, latents, image, TuningOptions(), perceptual)
            seconds["PTI-opt"].append(_timed(work, image.device)[0])
    return {"pSp": seconds["pSp"][WARM_UP:], "PTI-opt": seconds["PTI-opt"]}


@torch.no_grad()
def generation_seconds(G: Generator, runs: int) -> list[float]:
    """Return the seconds of each of `runs` images, after a few that warm up; degraded where the network can."""
    device = G.device
    seconds = [_timed(lambda seed=seed: _degraded_image(G, seed).cpu(), device)[0] for seed in range(WARM_UP + runs)]
    return seconds[WARM_UP:]


def device_name(device: torch.device) -> str:
    """Return what a person calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


@torch.no_grad()
def _degraded_image(G: Generator, seed: int) -> Tensor:
    """Return the image `[1, C, R, R]` of a seed, degraded where the network can."""
    sampling = Sampling(class_index=0 if G.c_dim > 0 else None)  # any class takes as long
    ws = ws_of_seeds(G, [seed], sampling)
    q = torch.from_numpy(random_quality([seed], G.q_dim).codes).to(ws) if G.q_dim > 0 else None
    image = synthesize(G, Latents(ws, q), noise_of_seeds(G, [seed]))
    return image


def _timed(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    _wait(device)
    started = time.perf_counter()
    result = work()
    _wait(device)
    return time.perf_counter() - started, result


def _cell(seconds: list[float] | None) -> str:
    return EMPTY if seconds is None else f"{statistics.mean(seconds):.4f} ± {statistics.pstdev(seconds):.4f}"


def _wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)
