"""Style heads of pSp: from a backbone's maps to codes (Richardson et al. 2021, "Encoding in Style", section 3.1)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.layers import FullyConnected

COARSE = 3  # ws that come from the deepest map
MIDDLE = 4  # ws that come from the map before; the rest come from the finest


def style_counts(num_ws: int) -> list[int]:
    """Return how many ws come from each level, coarse first; levels without any are left out."""
    coarse = min(COARSE, num_ws)
    middle = min(MIDDLE, num_ws - coarse)
    return [count for count in (coarse, middle, num_ws - coarse - middle) if count > 0]


class StyleHead(nn.Module):
    """map2style: `[N, C, side, side] -> [N, features]`; convolutions halve the map until one pixel is left."""

    def __init__(self, channels: int, side: int, features: int, slope: float = 0.2) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(math.ceil(math.log2(side))):
            layers += [nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.LeakyReLU(slope)]
        self.halvings = nn.Sequential(*layers)
        self.linear = FullyConnected(channels, features)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, features]` for a map `x [N, C, side, side]`."""
        return self.linear(self.halvings(x).flatten(1))  # [N, features]


class StylePyramid(nn.Module):
    """A feature pyramid and, for each code, a head on one of its levels; or a head on each level for all its codes.

    Args:
        channels: channels of the backbone's maps, finest first.
        sides: sides of the same maps, in pixels.
        count: number of codes.
        features: width of a code.
        slope: slope of the leaky ReLU below zero.
        align_corners: how maps are enlarged, as in torch's `interpolate`.
        shared: whether the codes of a level come from one head.
    """

    def __init__(
        self,
        channels: Sequence[int],
        sides: Sequence[int],
        count: int,
        features: int,
        slope: float = 0.2,
        align_corners: bool = False,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.features = features
        width = channels[-1]
        self.heads = nn.ModuleList()
        for codes, side in zip(style_counts(count), reversed(sides), strict=False):
            widths = [codes * features] if shared else [features] * codes
            self.heads.append(nn.ModuleList(StyleHead(width, side, outputs, slope) for outputs in widths))
        shallower = list(channels[-2::-1])[: len(self.heads) - 1]  # the deepest map enters as it is
        self.laterals = nn.ModuleList(nn.Conv2d(narrow, width, 1) for narrow in shallower)

    def levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map `[N, channels[i], sides[i], sides[i]]`, finest first, to `[N, width, side, side]` each, coarse first."""
        levels = [maps[-1]]
        for lateral, finer in zip(self.laterals, reversed(maps[:-1]), strict=False):
            coarser = F.interpolate(levels[-1], size=finer.shape[2:], mode="bilinear", align_corners=self.align_corners)
            levels.append(lateral(finer) + coarser)
        return levels

    def codes(self, levels: Sequence[Tensor]) -> Tensor:
        """Map the levels, coarse first, to `[N, count, features]`."""
        heads = [(head, level) for level, each in zip(levels, self.heads, strict=True) for head in each.children()]
        return torch.cat([head(level).unflatten(1, (-1, self.features)) for head, level in heads], dim=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map `[N, channels[i], sides[i], sides[i]]`, finest first, to `[N, count, features]`."""
        return self.codes(self.levels(maps))
