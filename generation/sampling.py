"""Seeds and quality codes to images, a batch at a time.

From a notebook:

    G = load("network.safetensors", best_device())
    ws = ws_of_seeds(G, [0, 1, 2], Sampling(truncation_psi=0.7))
    qualities = [None, torch.randn(3, G.q_dim, device=ws.device)]
    sharp, degraded = render(G, Latents(ws), qualities, noise_of_seeds(G, [0, 1, 2]))
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError
from generation.framing import Framing
from generation.quality_codes import Quality
from generation.rendering import render_uint8
from networks.frozen import FrozenSynthesis
from networks.generators.coordinates import Coordinates
from networks.generators.interface import Generator, Noise
from networks.latents import Latents
from torch_utils.purposes import FOR_IMAGE_NOISE
from torch_utils.seeding import BatchRandom

# Pixels of all images of a batch, where their size is not the network's: sharp ones are made in strips.
MAX_PIXELS_AT_ONCE = 2**24
MAX_DEGRADED_AT_ONCE = 2**20


@dataclass(frozen=True)
class Sampling:
    """How seeds become images.

    Attributes:
        class_index: class of a conditional network's images; None for an unconditional one.
        truncation_psi: draws w towards the mean; 1: not at all.
        noise_mode: `const` (stored with the network), `random` (each seed's own), or `none`.
        batch: seeds in one pass through the network.
        framing: what images show, and at how many pixels; None: as trained.
    """

    class_index: int | None = None
    truncation_psi: float = 1.0
    noise_mode: Literal["const", "random", "none"] = "const"
    batch: int = 8
    framing: Framing | None = None


@dataclass(frozen=True)
class Views:
    """The images of some seeds.

    Attributes:
        rows: which of the seeds.
        ws: `[N, num_ws, w_dim]`.
        images: uint8 `[K, N, H, W, C]`, for each quality and seed.
    """

    rows: slice
    ws: Tensor
    images: np.ndarray


def check_class(G: Generator, class_index: int | None) -> None:
    """Raise UserError unless `class_index` is what this network needs."""
    if G.c_dim == 0 and class_index is not None:
        raise UserError(f"--class={class_index} is given, and this network has no classes; leave --class out")
    if G.c_dim > 0 and class_index is None:
        raise UserError(f"this network has {G.c_dim} classes; choose one with --class=0 to --class={G.c_dim - 1}")
    if class_index is not None and not 0 <= class_index < G.c_dim:
        raise UserError(f"--class={class_index} is none of the {G.c_dim} classes; choose from 0 to {G.c_dim - 1}")


def z_of_seeds(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Return the latents of images number `seeds`, float32 `[N, z_dim]`: `RandomState(s).randn(1, z_dim)` each."""
    rows = [np.random.RandomState(seed).randn(1, z_dim) for seed in seeds]
    return torch.from_numpy(np.concatenate(rows).astype(np.float32))


@torch.no_grad()
def ws_of_seeds(G: Generator, seeds: Sequence[int], sampling: Sampling | None = None) -> Tensor:
    """Return `ws [N, num_ws, w_dim]` of images number `seeds`, on the network's device."""
    sampling = sampling or Sampling()
    check_class(G, sampling.class_index)
    z = z_of_seeds(seeds, G.z_dim).to(G.device)
    c = None
    if sampling.class_index is not None:
        c = G.one_hot(torch.full([len(seeds)], sampling.class_index, device=z.device))
    return G.mapping(z, c, truncation_psi=sampling.truncation_psi)


def noise_of_seeds(G: Generator, seeds: Sequence[int], noise_mode: str = "const") -> Noise:
    """Return every layer's noise `[N or 1, 1, H, W]`; in mode `random` a row depends on its seed alone."""
    return G.synthesis.make_noise(noise_mode, len(seeds), SeedRandom(seeds, G.device))


class SeedRandom:
    """Random numbers of which each row comes from its own seed, drawn on the CPU so that every device sees the same."""

    def __init__(self, seeds: Sequence[int], device: torch.device):
        self.sources = [BatchRandom((seed, FOR_IMAGE_NOISE), 1) for seed in seeds]
        self.device = device

    def randn(self, *shape: int) -> Tensor:
        """Draw `[N, *shape]` from the standard normal distribution."""
        return torch.cat([source.randn(*shape) for source in self.sources]).to(self.device)


def seed_batches(G: Generator, count: int, qualities: Sequence[Quality], sampling: Sampling) -> list[slice]:
    """Return which of `count` seeds pass through the network together, as `generate` divides them."""
    is_sharp = _are_sharp(qualities)
    coords = None if sampling.framing is None else sampling.framing.coordinates(G, is_sharp)
    batch = seeds_at_once(sampling.batch, coords, is_sharp)
    return [slice(first, min(first + batch, count)) for first in range(0, count, batch)]


@torch.no_grad()
def generate(
    G: Generator,
    seeds: Sequence[int],
    qualities: Sequence[Quality],
    sampling: Sampling,
    batches: Iterable[slice] | None = None,
) -> Iterator[Views]:
    """Yield the images of `seeds` at all `qualities`, a batch of seeds at a time.

    An image depends on its seed and code, never on what else is in its batch; all images of a seed have the same noise.

    Args:
        G: network.
        seeds: numbers of the images.
        qualities: qualities of each seed.
        sampling: how seeds become images.
        batches: those of `seed_batches` that are wanted; None: all.
    """
    coords = None if sampling.framing is None else sampling.framing.coordinates(G, _are_sharp(qualities))
    frozen = FrozenSynthesis(G)
    for rows in seed_batches(G, len(seeds), qualities, sampling) if batches is None else batches:
        ws = ws_of_seeds(G, seeds[rows], sampling)
        codes = [_tensor(quality.rows(rows), ws.device) for quality in qualities]
        noise = noise_of_seeds(G, seeds[rows], sampling.noise_mode)
        yield Views(rows, ws, np.stack(render_uint8(G, Latents(ws), codes, noise, coords, frozen)))


def seeds_at_once(batch: int, coords: Coordinates | None, is_sharp: bool) -> int:
    """Return how many images of these coordinates go through the network together, at most `batch`."""
    if coords is None:
        return batch
    return max(1, min(batch, (MAX_PIXELS_AT_ONCE if is_sharp else MAX_DEGRADED_AT_ONCE) // coords.pixels))


def _are_sharp(qualities: Sequence[Quality]) -> bool:
    return all(quality.is_sharp for quality in qualities)


def _tensor(codes: np.ndarray | None, device: torch.device) -> Tensor | None:
    return None if codes is None else torch.tensor(codes, dtype=torch.float32, device=device)
