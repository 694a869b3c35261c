"""Networks in half precision, and the check that their images stay the same."""

import os
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from generation.quality_codes import seed_code
from generation.rendering import synthesize
from generation.sampling import ws_of_seeds
from images.ranges import to_levels
from networks.files import GENERATOR, load
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.checkpoint import save_tensors

SEEDS = 32  # images that are compared
EXACT = (".coords", ".freqs")  # of CREPS, whose angles are products of both and many turns long
MOST_LEVELS = 1.0  # grey levels by which no pixel may change


def halve(name: str, tensor: Tensor) -> Tensor:
    """Return float32 as float16 where no number leaves its range; other types stay, as do places and frequencies."""
    if tensor.dtype != torch.float32 or name.endswith(EXACT):
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor


def save_network_halved(source: str, tensors: dict[str, Tensor], header: dict[str, Any], output: str) -> str:
    """Write a network with half of its bytes; where images would change by more than a grey level, its generator whole.

    Args:
        source: file of the network.
        tensors: those of its tensors that are kept.
        header: header of the output.
        output: path of the file that is written.

    Returns what is to be said of it. Raises UserError, and writes nothing, where it would have nothing to halve.
    """
    halved = {name: halve(name, tensor) for name, tensor in tensors.items()}
    save_tensors(output, halved, header)
    change = _most_changed(source, output)
    if change <= MOST_LEVELS:
        return ""
    os.remove(output)
    loses = f"{change:.1f} grey levels of 255 in half precision"
    if all(name.startswith(GENERATOR) for name in tensors):
        raise UserError(f"{source} loses {loses}; ship it as it is")
    save_tensors(output, {n: tensors[n] if n.startswith(GENERATOR) else half for n, half in halved.items()}, header)
    return f"; the generator keeps all its bytes, as images would lose {loses}"


def _most_changed(source: str, output: str) -> float:
    """Return by how many grey levels a pixel differs at most."""
    images = [_images(load(path, torch.device("cpu"), "fp32")) for path in (source, output)]
    return (images[0] - images[1]).abs().max().item()


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
