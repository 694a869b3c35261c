"""The one currency of inversion: what encoders and the projector find, and what the generator consumes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from generation.sampling import render
from networks.generators.stylegan2 import Generator, Noise


@dataclass(frozen=True, eq=False)
class Latents:
    """The codes of some images.

    Attributes:
        ws: `[N, num_ws, w_dim]`, the content.
        q: `[N, q_dim]`, the quality; None or zero: sharp.
    """

    ws: Tensor
    q: Tensor | None = None

    def __post_init__(self):
        assert self.ws.ndim == 3, f"ws has shape {list(self.ws.shape)}, not [N, num_ws, w_dim]"
        if self.q is not None:
            assert self.q.ndim == 2 and len(self.q) == len(self.ws), f"q has shape {list(self.q.shape)}"

    def __len__(self) -> int:
        return len(self.ws)

    def __getitem__(self, rows: slice) -> "Latents":
        return Latents(self.ws[rows], None if self.q is None else self.q[rows])

    def to(self, device: torch.device | str) -> "Latents":
        """Return the codes on a device."""
        return Latents(self.ws.to(device), None if self.q is None else self.q.to(device))

    def sharp(self) -> "Latents":
        """Return the same content without any degradation: restoring is this (paper, section 3.5)."""
        return replace(self, q=None)


def synthesize(G: Generator, latents: Latents, noise: Noise | None = None) -> Tensor:
    """Return the images `[N, C, R, R]` of codes, float32, nominally in [-1, 1]; `noise` None: the stored one."""
    noise = G.synthesis.make_noise("const", len(latents)) if noise is None else noise
    return render(G, latents.ws, [latents.q], noise)[0]
