"""Thick lines of features: `[N, C, H + W, D]`, D copies for each of H rows and then for each of W columns."""

import math

import torch
from torch import Tensor, nn

from networks.generators.coordinates import Coordinates
from networks.generators.creps.layers import PlaceLayer, ToOutput
from networks.layers import FullyConnected


class FourierLines(nn.Module):
    """The lines that synthesis begins with: waves along both coordinates, of random frequencies and learned strength.

    Args:
        channels: C, half of them sines and half cosines.
        w_dim: width of the latent.
        thickness: D, copies of each line.
        bandwidth: standard deviation of the frequencies, in periods over the image.
        native: the coordinates of the trained image, which the network's files hold.
    """

    def __init__(self, channels: int, w_dim: int, thickness: int, bandwidth: float, native: Tensor):
        super().__init__()
        self.channels = channels
        self.thickness = thickness
        self.freqs: Tensor
        self.coords: Tensor
        self.weight = nn.Parameter(torch.randn(1, channels, 1, 2 * thickness))
        self.affine = FullyConnected(w_dim, channels * 2 * thickness, bias_init=1)
        self.register_buffer("freqs", bandwidth * torch.randn(1, channels // 2 * thickness))
        self.register_buffer("coords", torch.stack([native, native], dim=1)[None, :, :, None])  # [1, R, 2, 1]

    def native(self) -> Coordinates:
        """Return the coordinates of the trained image."""
        rows, columns = self.coords[0, :, :, 0].unbind(1)
        return Coordinates(rows, columns)

    def forward(self, coords: Coordinates, w: Tensor) -> Tensor:
        """Return the lines `[N, C, H + W, D]`, float32, of coordinates and `w [N, w_dim]`."""
        strength = self.weight * self.affine(w).view(-1, self.channels, 1, 2 * self.thickness)
        strength = (strength / math.sqrt(self.channels)).permute(0, 2, 3, 1)  # [N, 1, 2 D, C]
        halves = strength.split(self.thickness, dim=2)  # [N, 1, D, C] of rows, and of columns
        lines = [self._waves(t) * half for t, half in zip((coords.rows, coords.columns), halves, strict=True)]
        return torch.cat(lines, dim=1).permute(0, 3, 1, 2)

    def _waves(self, t: Tensor) -> Tensor:
        """Return the waves at coordinates `[P]`, `[P, D, C]`."""
        freqs = self.freqs.view(self.channels // 2, self.thickness).t()  # [D, C / 2]
        angle = 2 * math.pi * t[:, None, None] * freqs  # [P, D, C / 2]
        return torch.cat([angle.sin(), (angle + math.pi / 2).sin()], dim=2)


class InputBlock(nn.Module):
    """Block b4: the first lines, and one layer. It adds nothing to the lines that are fused."""

    def __init__(self, lines: FourierLines, out_channels: int, w_dim: int, clamp: float):
        super().__init__()
        self.out_channels = out_channels
        self.dtype = torch.float32
        self.input = lines
        self.fc1 = PlaceLayer(lines.channels, out_channels, w_dim, clamp)

    def forward(self, coords: Coordinates, ws: Tensor) -> Tensor:
        """Map coordinates and `ws [N, 2, w_dim]` to lines `[N, C, H + W, D]`."""
        return self.fc1(self.input(coords, ws[:, 0]), ws[:, 1])


class LineBlock(nn.Module):
    """Blocks b8 to bR: two layers, and what they add to the lines that are fused.

    Args:
        in_channels: channels of the features that enter.
        out_channels: channels of the features that leave.
        lines_channels: B, channels of the lines that are fused.
        w_dim: width of the latent.
        clamp: bound of the activations.
        dtype: number type in which the block computes.
    """

    def __init__(
        self, in_channels: int, out_channels: int, lines_channels: int, w_dim: int, clamp: float, dtype: torch.dtype
    ):
        super().__init__()
        self.out_channels = out_channels
        self.dtype = dtype
        self.fc0 = PlaceLayer(in_channels, out_channels, w_dim, clamp)
        self.fc1 = PlaceLayer(out_channels, out_channels, w_dim, clamp)
        self.tores = ToOutput(out_channels, lines_channels, w_dim, clamp)

    def forward(self, x: Tensor, lines: Tensor | None, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Map features `[N, C_in, P, D]`, lines `[N, B, P, D]` and `ws [N, 3, w_dim]` to those behind the block."""
        x = self.fc1(self.fc0(x.to(self.dtype), ws[:, 0]), ws[:, 1])
        added = self.tores(x, ws[:, 2])
        return x, added if lines is None else lines + added
