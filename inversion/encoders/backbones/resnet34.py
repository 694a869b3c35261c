"""ResNet-34 (He et al. 2015) of any width, without pooling after the first layer, for small images."""

import torch.nn.functional as F
from torch import Tensor, nn

from dnnlib.errors import UserError
from metrics.weights.directory import WeightsDirectory

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # channels, blocks; all but the first halve the resolution
MULTIPLE = 8  # channels are rounded to multiples of it, for which matrix products are fast


class Block(nn.Module):
    """Two convolutions and a shortcut, `[N, C, H, W] -> [N, C', H / stride, W / stride]`."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.widen: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            convolution = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.widen = nn.Sequential(convolution, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, C', H / stride, W / stride]` for `x [N, C, H, W]`."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))  # [N, C', H / stride, W / stride]
        return F.relu(y + (x if self.widen is None else self.widen(x)))


class Backbone(nn.Module):
    """ResNet-34 whose `maps` are the outputs of the last three stages, with 1/4, 1/8 and 1/16 of the image's side.

    Args:
        in_channels: channels of the images.
        width: factor of the channels of all layers.
    """

    def __init__(self, in_channels: int, width: float) -> None:
        super().__init__()
        widths = [max(MULTIPLE, round(channels * width / MULTIPLE) * MULTIPLE) for channels, _ in STAGES]
        self.channels = tuple(widths[1:])
        self.stem = nn.Conv2d(in_channels, widths[0], 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList()
        before = widths[0]
        for number, (channels, (_, count)) in enumerate(zip(widths, STAGES, strict=True)):
            first = Block(before, channels, stride=2 if number else 1)
            self.stages.append(nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(count - 1))))
            before = channels

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images `[N, in_channels, H, W]` in [-1, 1], finest first."""
        x = F.relu(self.norm(self.stem(images)))  # [N, channels, H / 2, W / 2]
        maps = []
        for stage in self.stages:
            x = stage(x)  # [N, channels, H / stride, W / stride]
            maps.append(x)
        return maps[1:]


def build_backbone(in_channels: int, width: float, published: WeightsDirectory | None = None) -> Backbone:
    """Return the backbone with fresh weights; raise UserError where published weights are given."""
    if published is not None:
        raise UserError("the published ArcFace weights are those of ir_se50, not resnet34; leave out --arcface")
    return Backbone(in_channels, width)
