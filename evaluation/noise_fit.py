"""How strong the noise of a QC network has to be for its degraded images to come nearest to degraded photos.

Adversarial training may settle on less noise than photos have, and on noise of other colours: a discriminator hardly
tells whether weak noise were better stronger. A distance between sets of images tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from networks.generators.interface import Generator
from networks.generators.pixel_block import PixelDegradBlock

GAINS = 0.5, 2.5  # range of the search
STEPS = 7  # of the search, for each kind of maps
TOLERANCE = 0.1  # of the gain's logarithm, where a search ends: distances near the least one hardly differ


@dataclass(frozen=True)
class NoiseChange:
    """What becomes of the noise that the last DegradBlock was trained to draw.

    Attributes:
        own_maps: whether each colour has a map of its own, all of the same strength; else they are mixed as trained.
        gain: factor of its strength.
    """

    own_maps: bool = False
    gain: float = 1.0

    def __str__(self) -> str:
        return f"noise x {self.gain:.2f}, {'a map a colour' if self.own_maps else 'maps as trained'}"

    @classmethod
    def of_header(cls, header: dict[str, Any]) -> NoiseChange:
        """Return what became of a network's noise before, by its header."""
        fit = header.get("noise") or {}
        return cls(fit.get("own_maps", False), fit.get("gain", 1.0))

    def after(self, earlier: NoiseChange) -> NoiseChange:
        """Return both changes as one."""
        return NoiseChange(self.own_maps or earlier.own_maps, self.gain * earlier.gain)

    def apply(self, grain: Tensor) -> Tensor:
        """Return the strengths `[D_q, maps, C]` that make this noise of those of training, `grain`.

        The strength that the colours share is the first singular direction of `grain`, by codes, with all of its power.
        """
        if not self.own_maps:
            return self.gain * grain
        codes, powers, _ = torch.linalg.svd(grain.flatten(1).double(), full_matrices=False)
        strengths = (codes[:, 0] * powers[0])[:, None, None]  # [D_q, 1, 1]
        colours = torch.eye(*grain.shape[1:], dtype=grain.dtype)
        return (self.gain * strengths * colours / colours.norm()).to(grain.dtype)


def grain_name(G: Generator, network: str) -> str:
    """Return the name, within a generator, of the strengths of its last DegradBlock's noise.

    Raises UserError for a network without noise of its own in the image.
    """
    names = [name for name, module in G.named_modules() if isinstance(module, PixelDegradBlock)]
    if not names:
        raise UserError(f"{network} draws no noise in pixels; give a QC network that was trained with --variant=pixels")
    return f"{names[-1]}.grain"


def nearest(distance: Callable[[NoiseChange], float], unchanged: float) -> tuple[NoiseChange, float]:
    """Return the noise nearest to photos of all that a search tries, and its distance.

    Args:
        distance: function of a noise to its distance.
        unchanged: the distance of the noise as it is, which stays where nothing is nearer.
    """
    from scipy.optimize import minimize_scalar

    tried = {NoiseChange(): unchanged}
    for own_maps in (False, True):

        def of_log(log_gain: float, own_maps: bool = own_maps) -> float:
            noise = NoiseChange(own_maps, math.exp(log_gain))
            tried[noise] = distance(noise)
            return tried[noise]

        options = {"maxiter": STEPS, "xatol": TOLERANCE}
        minimize_scalar(of_log, bounds=[math.log(gain) for gain in GAINS], method="bounded", options=options)
    best = min(tried, key=lambda noise: tried[noise])
    return best, tried[best]
