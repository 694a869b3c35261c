"""What is done to each cell of JPEG's grid alone: a perceptron on the cosines of its pixels."""

import math

import torch
from torch import Tensor, nn

HIDDEN = 64  # units for each channel of the image: as many as a cell of 8x8 pixels has cosines


class CellPerceptron(nn.Module):
    """Image and code to a residual of the image, cell by cell, homogeneous of degree 1 in `q`.

    Compression rounds each cosine of a cell by a step of its own, which sets the weak ones to zero. A unit is
    `relu(q . (A x + t))` of a cell's cosines `x`, linear in `q` before the activation as in Eq. 8 and without another
    bias (Eq. 6); pairs of units whose thresholds are opposed cut off what is weak. The second layer begins at zero.

    Args:
        q_dim: D_q.
        img_channels: channels of the image.
        side: side of a cell in pixels of this image.
    """

    def __init__(self, q_dim: int, img_channels: int, side: int):
        super().__init__()
        self.side = side
        self.hidden = HIDDEN * img_channels
        cosines = img_channels * side * side
        self.weight = nn.Parameter(torch.randn(q_dim, self.hidden, cosines))
        self.threshold = nn.Parameter(torch.randn(q_dim, self.hidden))
        self.out = nn.Parameter(torch.zeros(self.hidden, cosines))
        self.gain = 1 / math.sqrt(q_dim * 2 * side)  # the mean of a cell, by far its strongest cosine, is `side` fold
        self.threshold_gain = 1 / math.sqrt(4 * q_dim)
        self.out_gain = 1 / math.sqrt(self.hidden)
        self.waves: Tensor
        self.register_buffer("waves", cosine_waves(side), persistent=False)

    def forward(self, image: Tensor, q: Tensor) -> Tensor:
        """Return the residual of an image `[N, C, H, W]` in float32, of its shape."""
        x = self.waves @ cells_of(image, self.side) @ self.waves.T  # [N, cells, C, side, side]
        weight = ((q * self.gain) @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])  # [N, hidden, cosines]
        threshold = (q * self.threshold_gain) @ self.threshold  # [N, hidden]
        units = torch.relu(torch.baddbmm(threshold[:, None], x.flatten(2), weight.mT))  # [N, cells, hidden]
        residual = (units @ (self.out * self.out_gain)).view(x.shape)
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
