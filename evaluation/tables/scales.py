"""How images of one network agree at several sizes and places, and what larger ones cost (CREPS, Table 4's columns).

The paper shows its scale consistency as a video. Here it is a number: an image of `s` times the trained side, brought
down to it by averaging, and an image of a window that lies some pixels further right, are compared with the image at
the trained size by PSNR.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import tqdm
from torch import Tensor

from dnnlib.errors import counted
from evaluation.streams.fakes import enlarge, scaled_side
from evaluation.tables.table import Table, number
from generation.framing import Framing
from generation.rendering import synthesize
from generation.sampling import Sampling, noise_of_seeds, ws_of_seeds
from images.ranges import round_levels, to_levels
from networks.files import load
from networks.generators.interface import Generator, ScaleFreeSynthesis
from networks.latents import Latents
from torch_utils.distributed import World
from torch_utils.memory import peak_memory

PEAK = 255.0


@dataclass(frozen=True)
class ScalesOptions:
    """What is rendered.

    Attributes:
        scales: factors of the trained side, at least 1.
        shifts: pixels of the trained image by which a window lies further right.
        images: number of images.
    """

    scales: tuple[float, ...]
    shifts: tuple[int, ...]
    images: int


@dataclass(frozen=True)
class Row:
    """One network at one scale or shift; `psnr` is infinite where images are equal, and None at the trained frame."""

    network: str
    frame: str
    side: int
    psnr: float | None
    seconds: float  # seconds an image
    peak_bytes: int  # most memory that the process has used so far


def scales_table(world: World, networks: Sequence[str], options: ScalesOptions) -> Table:
    """Return a row for each network, scale and shift; the images of a network with a grid are enlarged by Lanczos.

    Args:
        world: the process, which works alone.
        networks: files of the networks.
        options: what is rendered.
    """
    rows = [row for network in networks for row in _rows(network, load(network, world.device), options)]
    cells = [
        [row.network, row.frame, f"{row.side}x{row.side}", number(row.psnr), number(row.seconds, 3), _megabytes(row)]
        for row in rows
    ]
    notes = [
        f"{counted(options.images, 'image')} each, one at a time, on {world.device.type}. "
        "PSNR in dB, of the image brought down "
        "to the trained side by averaging, or of what two windows share, with the image at the trained size. Memory is "
        "the most that the process used up to this row."
    ]
    columns = ["network", "frame", "pixels", "PSNR", "seconds", "MB"]
    return Table("scales", "Scale consistency, time and memory", columns, cells, notes, {"rows": [*map(asdict, rows)]})


def _rows(network: str, G: Generator, options: ScalesOptions) -> list[Row]:
    """Return the rows of one network, from the smallest images to the largest, so that memory is each one's own."""
    frames = [(f"scale {scale:g}", Framing(scale=scale), 0) for scale in sorted({1.0, *options.scales})]
    if isinstance(G.synthesis, ScaleFreeSynthesis):
        line = G.synthesis.line(G.img_resolution)
        pixel = float(line[-1] - line[0]) / (len(line) - 1)  # side of a pixel, in sides of the image
        shifts = sorted(set(options.shifts))
        frames[1:1] = [(f"shift {shift}", Framing(shift=(shift * pixel, 0.0)), shift) for shift in shifts]
    native = [_image(G, seed, Framing()) for seed in tqdm.trange(options.images, unit="img", disable=None)]
    rows = []
    for name, framing, shift in frames:
        started = time.perf_counter()
        images = [_image(G, seed, framing) for seed in range(options.images)]
        seconds = (time.perf_counter() - started) / options.images
        psnr = None if framing == Framing(scale=1.0) else _mean_psnr(images, native, shift)
        rows.append(Row(Path(network).stem, name, images[0].shape[-1], psnr, seconds, peak_memory(G.device)))
    return rows


@torch.no_grad()
def _image(G: Generator, seed: int, framing: Framing) -> Tensor:
    """Return the sharp image `[C, H, W]` of a seed, levels in 0..255, on the CPU."""
    ws = ws_of_seeds(G, [seed], Sampling(class_index=0 if G.c_dim > 0 else None))
    noise = noise_of_seeds(G, [seed])
    if isinstance(G.synthesis, ScaleFreeSynthesis):
        return to_levels(synthesize(G, Latents(ws), noise, framing.coordinates(G)).float())[0].cpu()
    levels = round_levels(to_levels(synthesize(G, Latents(ws), noise).float()))
    return enlarge(levels, scaled_side(G, framing.scale or 1.0))[0].float().cpu()


def _mean_psnr(images: Sequence[Tensor], native: Sequence[Tensor], shift: int) -> float:
    """Return the PSNR in dB of the mean squared error over all images."""
    errors = [_squared_error(image, one, shift) for image, one in zip(images, native, strict=True)]
    mean = sum(errors) / len(errors)
    return math.inf if mean == 0 else 10 * math.log10(PEAK**2 / mean)


def _squared_error(image: Tensor, native: Tensor, shift: int) -> float:
    side = native.shape[-1]
    if shift > 0:
        return float((image[..., : side - shift] - native[..., shift:]).square().mean())
    small = F.interpolate(image[None], size=(side, side), mode="bilinear", antialias=True)[0]
    return float((small - native).square().mean())


def _megabytes(row: Row) -> str:
    return f"{row.peak_bytes / 2**20:.0f}"
