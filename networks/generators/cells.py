"""What compression does to each cell of JPEG's grid: it rounds every cosine by itself, most of all to zero."""

import math

import torch
from torch import Tensor, nn

UNITS = 2  # units of a cosine for each channel of the image
BOUND = 0.5  # about what bounds begin with, where pixels are in [-1, 1]


class CellRounding(nn.Module):
    """Image and code to a residual of the image: what is weak goes, cosine by cosine of each cell.

    A unit of a cosine is `clip(q . A x, |q . t|)` of its values `x` in all channels (colours are mixed before they are
    rounded). It is linear in `q` but for the clip, whose bound is linear as well, so that it is homogeneous of degree 1
    (Eq. 10), and odd in `x`, so that it draws no pattern where there is none. What units give comes back by weights
    that begin at zero: minus a unit takes away what is weaker than its bound.

    Args:
        q_dim: D_q.
        img_channels: channels of the image.
        side: side of a cell in pixels of this image.
    """

    def __init__(self, q_dim: int, img_channels: int, side: int):
        super().__init__()
        self.side = side
        cosines, units = side * side, UNITS * img_channels
        self.weight = nn.Parameter(torch.randn(q_dim, cosines, img_channels, units))
        self.bound = nn.Parameter(torch.randn(q_dim, cosines, units))
        self.out = nn.Parameter(torch.zeros(cosines, units, img_channels))
        self.gain = 1 / math.sqrt(q_dim * img_channels)
        self.bound_gain = BOUND / math.sqrt(q_dim)
        self.out_gain = 1 / math.sqrt(units)
        self.waves: Tensor
        self.register_buffer("waves", cosine_waves(side), persistent=False)

    def forward(self, image: Tensor, q: Tensor) -> Tensor:
        """Return the residual of an image `[N, C, H, W]` in float32, of its shape."""
        x = self.waves @ cells_of(image, self.side) @ self.waves.T  # [N, cells, C, side, side]
        x = x.flatten(3).permute(0, 3, 1, 2)  # [N, cosines, cells, C]
        mixed = x @ ((q * self.gain) @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])  # [..., units]
        bound = ((q * self.bound_gain) @ self.bound.flatten(1)).abs().unflatten(1, (x.shape[1], 1, -1))
        units = torch.maximum(torch.minimum(mixed, bound), -bound)  # [N, cosines, cells, units]
        residual = units @ (self.out * self.out_gain)  # [N, cosines, cells, C]
        residual = residual.permute(0, 2, 3, 1).unflatten(3, (self.side, self.side))
        return image_of(self.waves.T @ residual @ self.waves, image.shape[3])


def cosine_waves(side: int) -> Tensor:
    """Return the orthogonal matrix `[side, side]` of the discrete cosine transform (DCT-II), a row for each wave."""
    waves = torch.cos(torch.outer(torch.arange(side), torch.arange(side) + 0.5) * (math.pi / side))
    return waves / waves.norm(dim=1, keepdim=True)


def cells_of(image: Tensor, side: int) -> Tensor:
    """Cut an image `[N, C, H, W]` into its cells, `[N, H / side * W / side, C, side, side]`."""
    cells = image.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # [N, C, rows, side, columns, side]
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def image_of(cells: Tensor, width: int) -> Tensor:
    """Put the cells of an image `width` pixels wide together again; the inverse of `cells_of`."""
    side = cells.shape[4]
    rows = cells.unflatten(1, (-1, width // side)).permute(0, 3, 1, 4, 2, 5)  # [N, C, rows, side, columns, side]
    return rows.flatten(4).flatten(2, 3)
