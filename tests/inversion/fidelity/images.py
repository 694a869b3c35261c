"""Images with detail of all sizes, and what degradations make of them."""

import functools
import io

import numpy as np
import PIL.Image
import torch

from generation.rendering import synthesize
from generation.sampling import Sampling, ws_of_seeds
from images.ranges import to_uint8
from inversion.fidelity.bands import gaussian
from networks.files import load
from networks.latents import Latents

SIDE = 64


def noise(strength, seed=0):
    """White noise, [2, 3, 64, 64]."""
    return strength * torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def natural():
    """Images of 1/f spectrum, [2, 3, 64, 64]."""
    white = noise(1.0, 2)
    return sum(gaussian(white, 2.0**scale) * 2.0**scale for scale in range(4)) / 8


@functools.cache
def cats():
    """Two cats that a shipped network draws, [2, 3, 64, 64] in [-1, 1]: with contours, even places and few colours."""
    G = load("pretrained/afhqcat64-base.safetensors", torch.device("cpu"))
    with torch.no_grad():
        return synthesize(G, Latents(ws_of_seeds(G, [3, 8], Sampling(truncation_psi=0.7)))).clamp(-1, 1)


def compressed(images, quality, subsampling=-1):
    """Images through JPEG, colours as `subsampling` of Pillow; by default at half the resolution."""
    results = []
    for image in images:
        pixels = to_uint8(image[None])[0]
        file = io.BytesIO()
        PIL.Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality, subsampling=subsampling)
        with PIL.Image.open(file) as opened:
            results.append(torch.from_numpy(np.array(opened).reshape(pixels.shape)).permute(2, 0, 1) / 127.5 - 1)
    return torch.stack(results)


def error(image, other):
    """Mean squared difference."""
    return (image - other).square().mean().item()
