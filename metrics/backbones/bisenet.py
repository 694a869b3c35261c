"""The ResNet-18 within BiSeNet (Yu et al. 2018), as trained to tell the parts of faces apart on CelebAMask-HQ.

Modules are named as in the published weights (`cp.resnet.layer1.0.conv1.weight`), of which the layers behind the
ResNet are left out.
"""

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # channels, stride of the first block; two blocks each
MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, by which inputs are normalised
INPUT_SIDE = 512  # px, side of images that it was trained on


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut (He et al. 2015), `[N, C, H, W] -> [N, C', H / stride, W / stride]`."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            widen = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(widen, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, C', H / stride, W / stride]` for `x [N, C, H, W]`."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """ResNet-18 without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        width = STAGES[0][0]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for number, (channels, stride) in enumerate(STAGES, start=1):
            blocks = [ResidualBlock(width, channels, stride), ResidualBlock(channels, channels, 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            width = channels

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of the first layer and of the four stages, with 1/4, 1/4, 1/8, 1/16, 1/32 of the side."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        maps = [x]
        for number in range(1, len(STAGES) + 1):
            maps.append(self.get_submodule(f"layer{number}")(maps[-1]))
        return maps


class ContextPath(nn.Module):
    """The part of BiSeNet that holds the ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet18()


class BiSeNet(nn.Module):
    """BiSeNet as far as `maps` needs it."""

    def __init__(self) -> None:
        super().__init__()
        self.cp = ContextPath()

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return five maps of normalised images `[N, 3, H, W]`."""
        return self.cp.resnet.maps(images)
