"""Coordinates of W in which the mapping's output is about N(0, I)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.generators.interface import Generator
from torch_utils.purposes import FOR_WHITENING
from torch_utils.seeding import BatchRandom

SAMPLES = 10_000
SLOPE = 0.2  # slope of the mapping's leaky ReLU below zero
SMALLEST = 1e-3  # smallest deviation, relative to the largest; dividing by less would only amplify rounding errors


@dataclass(frozen=True, eq=False)
class WhitenedSpace:
    """An invertible map between `w` and whitened coordinates `v` (P_N space; Zhu et al. 2020, "Improved StyleGAN
    Embedding: Where are the Good Latents?").

    The mapping ends with a leaky ReLU; before it, its outputs are close to normally distributed.

    Attributes:
        mean: mean of the mapping's outputs before the leaky ReLU, `[w_dim]`.
        axes: principal directions, in columns, `[w_dim, w_dim]`.
        deviations: standard deviations along them, `[w_dim]`.
        w_avg: mean of the mapping's outputs, `[w_dim]`.
        slope: slope of the leaky ReLU below zero; 1: none is undone.
    """

    mean: Tensor
    axes: Tensor
    deviations: Tensor
    w_avg: Tensor
    slope: float = SLOPE

    @classmethod
    @torch.no_grad()
    def of(cls, G: Generator, samples: int = SAMPLES) -> "WhitenedSpace":
        """Return the space of a generator, from the outputs for `samples` latents (and classes, evenly)."""
        z = BatchRandom((0, FOR_WHITENING), samples).randn(G.z_dim).to(G.device)
        p = _before_activation(G.mapping(z, G.labels_in_turn(samples))[:, 0])  # [samples, w_dim]
        mean = p.mean(0)
        centred = (p - mean).double()
        eigenvalues, axes = torch.linalg.eigh(centred.T @ centred / samples)
        deviations = eigenvalues.clamp(min=0).sqrt()
        deviations = deviations.clamp(min=SMALLEST * deviations.max())
        return cls(mean, axes.float(), deviations.float(), G.mapping.w_avg)

    @classmethod
    @torch.no_grad()
    def unwhitened(cls, G: Generator, samples: int = SAMPLES) -> "WhitenedSpace":
        """Return W as it is, but for one unit of length, as StyleGAN2's projector and PTI search in it.

        The unit is the root of the mean variance of `w`, as whitened coordinates have 1.
        """
        z = BatchRandom((0, FOR_WHITENING), samples).randn(G.z_dim).to(G.device)
        w = G.mapping(z, G.labels_in_turn(samples))[:, 0]  # [samples, w_dim]
        unit = w.var(0, correction=0).mean().sqrt()
        axes = torch.eye(G.w_dim, device=G.device)
        return cls(G.mapping.w_avg, axes, unit.expand(G.w_dim), G.mapping.w_avg, slope=1.0)

    def to_w(self, v: Tensor) -> Tensor:
        """Map coordinates `[..., w_dim]` to `w`."""
        return F.leaky_relu((v * self.deviations) @ self.axes.T + self.mean, self.slope)

    def from_w(self, w: Tensor) -> Tensor:
        """Map `w [..., w_dim]` to coordinates."""
        return (_before_activation(w, self.slope) - self.mean) @ self.axes / self.deviations


def _before_activation(w: Tensor, slope: float = SLOPE) -> Tensor:
    return F.leaky_relu(w, 1 / slope)
