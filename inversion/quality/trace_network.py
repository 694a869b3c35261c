"""The quality code of images in one pass: a perceptron that reads their traces alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generation.rendering import stored_noise
from inversion.quality.traces import count_traces, traces
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.purposes import FOR_SPREAD
from torch_utils.seeding import BatchRandom

HIDDEN = 128  # features of each hidden layer, at width 1
SLOPE = 0.2  # of the leaky ReLU below zero
LEAST_SPREAD = 0.01  # of a trace, as of a network whose blocks do nothing yet
SAMPLES, PART = 64, 16  # own degraded images from which the spread of traces is measured, and how many at once


class TraceNetwork(nn.Module):
    """Images `[N, C, S, S]` to one code each, `[N, 1, q_dim]`.

    Traces say nothing of what an image shows, and are few: so this has thousands of weights where a backbone has
    millions. They are those of images of the network's own side, since whatever scales an image changes them.

    Args:
        G: generator whose codes are predicted; only its sizes are taken over.
        width: factor of the hidden layers' features.
    """

    def __init__(self, G: Generator, width: float = 1.0) -> None:
        super().__init__()
        self.resolution = G.img_resolution
        count = count_traces(self.resolution)
        hidden = max(1, round(HIDDEN * width))
        self.layers = nn.Sequential(
            *(nn.Linear(count, hidden), nn.LeakyReLU(SLOPE)),
            *(nn.Linear(hidden, hidden), nn.LeakyReLU(SLOPE)),
            nn.Linear(hidden, G.q_dim),
        )
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))

    @torch.no_grad()
    def measure(self, G: Generator) -> None:
        """Measure how the traces of the generator's own degraded images lie, so that all count alike at first."""
        rng = BatchRandom(FOR_SPREAD, SAMPLES)
        ws = G.mapping(rng.randn(G.z_dim).to(G.device), G.labels_in_turn(SAMPLES))
        own, noise = Latents(ws, q=rng.randn(G.q_dim).to(G.device)), stored_noise(G, PART)
        parts = [own[start : start + PART] for start in range(0, SAMPLES, PART)]
        found = torch.cat([traces(G.synthesis.image(G.synthesis.content(part, noise), part.q)) for part in parts])
        self.mean.copy_(found.mean(0))
        self.spread.copy_(found.std(0).clamp(min=LEAST_SPREAD))

    def forward(self, images: Tensor) -> Tensor:
        """Return codes float32 `[N, 1, q_dim]` of images `[N, C, S, S]` in [-1, 1]; any side S."""
        side = (self.resolution, self.resolution)
        if images.shape[2:] != side:
            images = F.interpolate(images, size=side, mode="area")
        with torch.autocast(images.device.type, enabled=False):  # the logarithm of a power needs all its digits
            found = (traces(images.float()) - self.mean) / self.spread
            return self.layers(found)[:, None]
