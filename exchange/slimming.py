"""Networks in half precision, and the check that their images stay the same."""

import os

import torch
from torch import Tensor

from dnnlib.errors import UserError
from generation.quality_codes import seed_code
from generation.rendering import synthesize
from generation.sampling import ws_of_seeds
from images.ranges import to_levels
from networks.files import load
from networks.generators.interface import Generator
from networks.latents import Latents

SEEDS = 32  # images that are compared
EXACT = (".coords", ".freqs")  # of CREPS, whose angles are products of both and many turns long
MOST_LEVELS = 1.0  # grey levels by which no pixel may change


def halve(name: str, tensor: Tensor) -> Tensor:
    """Return float32 as float16 where no number leaves its range; other types stay, as do places and frequencies."""
    if tensor.dtype != torch.float32 or name.endswith(EXACT):
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor


def require_same_images(source: str, output: str) -> None:
    """Raise UserError, and delete the output, where a pixel differs by more than a grey level."""
    images = [_images(load(path, torch.device("cpu"), "fp32")) for path in (source, output)]
    change = (images[0] - images[1]).abs().max().item()
    if change > MOST_LEVELS:
        os.remove(output)
        raise UserError(f"{source} loses {change:.1f} grey levels of 255 in half precision; ship it as it is")


@torch.no_grad()
def _images(G: Generator) -> Tensor:
    """Return images of some seeds in grey levels, through a code a seed where the network has one."""
    images = []
    for seed in range(SEEDS):
        ws = ws_of_seeds(G, [seed])  # [1, num_ws, w_dim]
        images.append(synthesize(G, Latents(ws)))
        if G.q_dim:
            images.append(synthesize(G, Latents(ws, q=torch.as_tensor(seed_code(seed, G.q_dim)).float())))
    return to_levels(torch.cat(images).clamp(-1, 1))
