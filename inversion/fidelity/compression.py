"""How JPEG coded a photo, told by its pixels: the cosines of its blocks lie on multiples of the steps of one quality.

Photos reach this program as pixels: saved again in another format, a part of a file, or degraded in memory. As long as
they were neither scaled nor shifted since, each cosine says which multiple of its step was stored.
"""

import functools
import io
import math
import sys
from dataclasses import dataclass
from typing import NamedTuple

import PIL.Image
import torch
from torch import Tensor

from images.colour import to_planes
from images.decoding import open_image
from inversion.fidelity.jpeg_blocks import BLOCK, FULL, Sampling, are_whole_blocks, cosines, decoded

QUALITIES = range(1, 96)  # with more of it the steps are as small as what rounding pixels to levels does
# Greatest mean squared distance to the nearest multiple, beside that of values that know nothing of these steps.
# Photos that were compressed have 0.01 to 0.25, others 0.9 to 1.05.
MISFIT = 0.5
CHANCE = 1e-6  # probability at most that a photo that was not compressed looks so
COLOUR_SAMPLINGS = (Sampling(2, 2), FULL, Sampling(1, 2))  # 4:2:0, 4:4:4 and 4:2:2


@dataclass(frozen=True)
class PlaneCode:
    """How a plane was coded.

    Attributes:
        steps: distances of the values that each cosine could have, in levels, `[8, 8]`.
        sampling: pixels of a sample.
    """

    steps: Tensor
    sampling: Sampling = FULL


@dataclass(frozen=True)
class Compression:
    """How a photo was coded.

    Attributes:
        quality: as of libjpeg, from 1 to 95.
        planes: of Y, Cb and Cr, or of Y alone; None for colours that do not tell, as those of gray photos.
    """

    quality: int
    planes: tuple[PlaneCode | None, ...]


class _Fit(NamedTuple):
    """How well cosines fit the multiples of some steps.

    Attributes:
        told: number of the cosines that are not 0.
        misfit: their mean squared distance from multiples, 1 where it is by chance.
    """

    told: int
    misfit: float

    @classmethod
    def of(cls, values: Tensor, steps: Tensor) -> "_Fit":
        """Return the fit of cosines `[blocks, 8, 8]` to steps `[8, 8]`."""
        multiples = values / steps.to(values)
        distances = (multiples - multiples.round())[multiples.abs() > 0.5]  # in [-0.5, 0.5]
        return cls(len(distances), 12 * distances.square().mean().item() if len(distances) else math.inf)

    @property
    def is_significant(self) -> bool:
        """Whether values that know nothing of the steps hardly ever fit so well.

        Their distances would lie in a cube of side 1 evenly, and these lie in a ball, whose volume is the probability.
        """
        if self.misfit > MISFIT:
            return False
        half, squared_radius = self.told / 2, max(self.told * self.misfit / 12, sys.float_info.min)
        log_volume = half * math.log(math.pi * squared_radius) - math.lgamma(half + 1)
        return log_volume + math.log(len(QUALITIES)) < math.log(CHANCE)


def find_compression(photo: Tensor) -> Compression | None:
    """Return how a photo `[C, R, R]` in [-1, 1] was compressed with the steps that nearly all programs use, or None."""
    side = photo.shape[-1]
    if side < 2 * BLOCK or not are_whole_blocks(side, FULL):
        return None
    planes = to_planes(photo[None])[0]  # [C, R, R]
    values = cosines(planes[:1])[0].flatten(0, 1)  # [blocks, 8, 8]
    values[:, 0, 0] = 0  # flat drawings have means on multiples of something as well
    fits = [_Fit.of(values, steps) for steps, _ in _step_tables()]
    best = min(range(len(fits)), key=lambda index: fits[index].misfit)
    if not fits[best].is_significant:
        return None
    luma, colour = (steps.to(photo.device) for steps in _step_tables()[best])
    return Compression(QUALITIES[best], (PlaneCode(luma), *[_colour_code(planes[1:], colour)] * len(planes[1:])))


def _colour_code(planes: Tensor, steps: Tensor) -> PlaneCode | None:
    """Return how the planes of colours `[2, R, R]` were coded with these steps; None where they do not tell."""
    fits = {
        sampling: _Fit.of(cosines(decoded(planes, sampling)).flatten(0, 2), steps)
        for sampling in COLOUR_SAMPLINGS
        if are_whole_blocks(planes.shape[-1], sampling)
    }
    best = min(fits, key=lambda sampling: fits[sampling].misfit, default=None)
    return None if best is None or fits[best].misfit > MISFIT else PlaneCode(steps, best)


@functools.cache
def _step_tables() -> list[tuple[Tensor, Tensor]]:
    """Return the steps `[8, 8]` of luma and colours at each of the qualities, as libjpeg has them."""
    return [_steps(quality) for quality in QUALITIES]


def _steps(quality: int) -> tuple[Tensor, Tensor]:
    file = io.BytesIO()
    PIL.Image.new("RGB", (BLOCK, BLOCK)).save(file, "JPEG", quality=quality)
    with open_image(file) as image:
        tables = image.quantization  # type: ignore[attr-defined]
    luma, colour = (torch.tensor(tables[index], dtype=torch.float32).view(BLOCK, BLOCK) for index in (0, 1))
    return luma, colour
