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
        waves = cosine_waves(side)
        self.register_buffer("waves", torch.kron(waves, waves), persistent=False)  # [cosines, pixels]

    def forward(self, image: Tensor, q: Tensor) -> Tensor:
        """Return the residual of an image `[N, C, H, W]` in float32, of its shape."""
        pixels = cells_of(image, self.side)  # [N, pixels, C, cells]
        x = _combined(self.waves, pixels)  # [N, cosines, C, cells]
        mix = ((q * self.gain) @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])  # [N, cosines, C, units]
        mixed = mix.transpose(2, 3) @ x  # [N, cosines, units, cells]
        bound = ((q * self.bound_gain) @ self.bound.flatten(1)).abs().unflatten(1, (x.shape[1], -1, 1))
        units = torch.maximum(torch.minimum(mixed, bound), -bound)  # [N, cosines, units, cells]
        residual = (self.out * self.out_gain).transpose(1, 2) @ units  # [N, cosines, C, cells]
        return image_of(_combined(self.waves.T, residual), image.shape[3])


def cosine_waves(side: int) -> Tensor:
    """Return the orthogonal matrix `[side, side]` of the discrete cosine transform (DCT-II), a row for each wave."""
    waves = torch.cos(torch.outer(torch.arange(side), torch.arange(side) + 0.5) * (math.pi / side))
    return waves / waves.norm(dim=1, keepdim=True)


def cells_of(image: Tensor, side: int) -> Tensor:
    """Cut an image `[N, C, H, W]` into its cells, `[N, side * side, C, H / side * W / side]`.

    The place within a cell comes first, so that what is done to it, for each cell alike, is one matrix product.
    """
    cells = image.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # [N, C, rows, side, columns, side]
    return cells.permute(0, 3, 5, 1, 2, 4).flatten(4).flatten(1, 2)


def image_of(cells: Tensor, width: int) -> Tensor:
    """Put the cells of an image `width` pixels wide together again; the inverse of `cells_of`."""
    side = math.isqrt(cells.shape[1])
    columns = cells.unflatten(3, (-1, width // side)).unflatten(1, (side, side))  # [N, side, side, C, rows, columns]
    return columns.permute(0, 3, 4, 1, 5, 2).flatten(4).flatten(2, 3)


def _combined(matrix: Tensor, cells: Tensor) -> Tensor:
    """Multiply the first axis of each image's `[N, places, C, cells]` by a matrix `[cosines, places]`."""
    products = torch.bmm(matrix.expand(cells.shape[0], -1, -1), cells.flatten(2))  # [N, cosines, C * cells]
    return products.unflatten(2, cells.shape[2:])
