"""Table 3 of the paper: seconds to generate an image, and to invert one by encoder (pSp) and pivotal tuning (PTI)."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from dnnlib.errors import UserError, counted
from evaluation.inverted_photos import describe_encoder
from evaluation.tables.table import EMPTY, Table
from generation.quality_codes import random_quality
from generation.rendering import synthesize
from generation.sampling import Sampling, noise_of_seeds, ws_of_seeds
from inversion.encoders.encoder import Encoder
from inversion.encoders.files import load_encoder
from inversion.perceptual import default_perceptual
from inversion.pivotal_tuning import tune
from inversion.tuning_options import TuningOptions
from networks.config import Dtype
from networks.files import load
from networks.frozen import FrozenSynthesis
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.distributed import World

# Mean and standard deviation in seconds at 256x256 and 512x512 (one V100).
PAPER = {"QC-StyleGAN": ("0.08 ± 0.01", "0.20 ± 0.04"), "pSp": ("0.13 ± 0.01", "0.11 ± 0.01")}
PAPER |= {"PTI-opt": ("83.40 ± 2.68", "222.29 ± 23.24")}
WARM_UP = 3  # images before those that are timed
TUNED = 5  # images that tuning is timed with


def runtime_table(
    world: World, network: str, encoder: str | None, runs: int, precision: Dtype | Literal["stored"]
) -> Table:
    """Return the time for one degraded image, batch 1, from latent and quality code to pixels in memory.

    With an encoder, there are also the times to invert such an image: the encoder's, and that of tuning with the
    defaults of `invert.py`.

    Args:
        world: the process, which works alone.
        network: file of the network.
        encoder: file of an encoder for this network, or None.
        runs: number of images that are timed.
        precision: precision of the network, as `networks.files.load` takes it.
    """
    G = load(network, world.device, precision)
    seconds = {"QC-StyleGAN": generation_seconds(G, runs)}
    notes = [f"One image at a time on {device_name(world.device)}: {runs} generated."]
    if encoder is None:
        notes.append("The inversion's rows need --encoder.")
    else:
        if G.q_dim == 0:
            raise UserError(f"{network} is plain, but tuning is timed on degraded images; give a QC network")
        loaded = load_encoder(encoder, network, G)
        seconds |= inversion_seconds(G, loaded, runs)
        notes.append(
            f"With the {describe_encoder(encoder, loaded.config.kind)}: {counted(runs, 'image')}. "
            f"Tuning: {TUNED} images with the defaults of `invert.py restore`."
        )
    side = f"{G.img_resolution}x{G.img_resolution}"
    rows = [[name, _cell(seconds.get(name)), *paper] for name, paper in PAPER.items()]
    numbers = {"resolution": G.img_resolution, "seconds": seconds, "paper": PAPER, "device": str(world.device)}
    title = "Table 3. Seconds for an image, mean and standard deviation"
    return Table("table3", title, ["", f"here, {side}", "paper, 256x256", "512x512"], rows, notes, numbers)


def inversion_seconds(G: Generator, encoder: Encoder, runs: int) -> dict[str, list[float]]:
    """Return the seconds to invert each of `runs` degraded images of the network's own, by stage."""
    perceptual = default_perceptual(G.device)
    encoding: list[float] = []
    tuning: list[float] = []
    for seed in range(WARM_UP + runs):
        image = _degraded_image(G, seed)  # [1, C, R, R]
        seconds, latents = _measure_time(partial(encoder, image), image.device)
        encoding.append(seconds)
        if WARM_UP <= seed < WARM_UP + TUNED:
            work = partial(tune, G, latents, image, TuningOptions(), perceptual)
            tuning.append(_measure_time(work, image.device)[0])
    return {"pSp": encoding[WARM_UP:], "PTI-opt": tuning}


@torch.no_grad()
def generation_seconds(G: Generator, runs: int) -> list[float]:
    """Return the seconds of each of `runs` images, after a few that warm up; degraded if it is a QC network."""

    frozen = FrozenSynthesis(G, calls_before=1)

    def work(seed: int) -> Tensor:
        return _degraded_image(G, seed, frozen).cpu()

    seconds = [_measure_time(partial(work, seed), G.device)[0] for seed in range(WARM_UP + runs)]
    return seconds[WARM_UP:]


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the kind of another device and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


@torch.no_grad()
def _degraded_image(G: Generator, seed: int, frozen: FrozenSynthesis | None = None) -> Tensor:
    """Return the image `[1, C, R, R]` of a seed, degraded if it is a QC network's."""
    sampling = Sampling(class_index=0 if G.c_dim > 0 else None)  # any class takes as long
    ws = ws_of_seeds(G, [seed], sampling)
    q = torch.from_numpy(random_quality([seed], G.q_dim).codes).to(ws) if G.q_dim > 0 else None
    return synthesize(G, Latents(ws, q=q), noise_of_seeds(G, [seed]), frozen=frozen)


def _measure_time(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    _wait(device)
    started = time.perf_counter()
    result = work()
    _wait(device)
    return time.perf_counter() - started, result


def _cell(seconds: list[float] | None) -> str:
    return EMPTY if seconds is None else f"{statistics.mean(seconds):.4f} ± {statistics.pstdev(seconds):.4f}"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
