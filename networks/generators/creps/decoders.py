"""From lines to maps: the product of rows and columns, and the small networks that rework it at each pixel."""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.generators.coordinates import Coordinates
from networks.layers import folded_gain
from torch_utils.ops.bias_act import ACTIVATIONS


class PixelLayer(nn.Module):
    """A fully connected layer at each pixel, the same for all images."""

    def __init__(self, in_channels: int, out_channels: int, act: str = "linear"):
        super().__init__()
        assert act in ("linear", "lrelu"), f"no layer has the activation {act}"
        self.act = act
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C_in, H, W]` to `[N, C_out, H, W]`, both channels_last."""
        gain = folded_gain(self.act, 1.0)
        weight, bias = self.weight * (self.weight_gain * gain), self.bias * gain
        # The product adds the bias, and the activation is in place: what the layer costs is passes over memory.
        y = F.linear(x.permute(0, 2, 3, 1), weight, bias)  # [N, H, W, C_out]
        y = F.leaky_relu_(y, ACTIVATIONS["lrelu"].alpha) if self.act == "lrelu" else y
        return y.permute(0, 3, 1, 2)


class Decoder(nn.Sequential):
    """Four layers, each followed by a leaky ReLU: B channels to B (supplement, Table 2)."""

    def __init__(self, channels: int):
        widths = [channels, 2 * channels, 4 * channels, 2 * channels, channels]
        super().__init__(*(PixelLayer(*pair, act="lrelu") for pair in itertools.pairwise(widths)))


def fuse(lines: Tensor, coords: Coordinates) -> Tensor:
    """Return the map `F[c, i, j] = 1/2 sum_d rows[c, i, d] * columns[c, j, d]`, or the same point by point.

    Args:
        lines: `[N, B, H + W, D]`, rows and then columns; of points `[N, B, 2 P, D]`.
        coords: what the lines belong to.

    Returns: `[N, B, H, W]`, channels_last.
    """
    rows, columns = lines.split([coords.rows.shape[0], coords.columns.shape[0]], dim=2)
    if coords.width is not None:
        maps = (rows * columns).sum(3).unflatten(2, coords.size) / 2
    elif lines.requires_grad or torch.compiler.is_exporting():
        maps = (rows / 2) @ columns.transpose(2, 3)  # [N, B, H, W]
    else:
        maps = _sum_of_products(rows / 2, columns)
    return maps.contiguous(memory_format=torch.channels_last)


def _sum_of_products(rows: Tensor, columns: Tensor) -> Tensor:
    """Return `rows [N, B, H, D] @ columns [N, B, W, D]^T`, `[N, B, H, W]`, in the layout of a map.

    A matrix product of few rows rounds otherwise; here a pixel has the same bits whatever is computed beside it.
    """
    first = rows.permute(3, 0, 2, 1).contiguous()[:, :, :, None]  # [D, N, H, 1, B]
    second = columns.permute(3, 0, 2, 1).contiguous()[:, :, None]  # [D, N, 1, W, B]
    maps = first[0] * second[0]  # [N, H, W, B]
    for row, column in zip(first[1:], second[1:], strict=True):
        maps.addcmul_(row, column)
    return maps.permute(0, 3, 1, 2)
