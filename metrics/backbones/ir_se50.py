"""IR-SE-50: the residual network that ArcFace was published with, and that encoders of faces start from.

Improved residual units as in ArcFace (Deng et al. 2019, after He et al. 2016, "Identity Mappings"), each with
squeeze-and-excitation (Hu et al. 2018). Modules are named as in the published weights (`body.3.res_layer.1.weight`).
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels, units; each stage halves the resolution
ENDS = (2, 6, 20, 23)  # numbers of the last units of the stages
REDUCTION = 16  # factor between the channels of a unit and those within its squeeze-and-excitation
INPUT_SIDE = 112  # px, side of images that are embedded
OUTPUT_SIDE = INPUT_SIDE // 2 ** len(STAGES)
EMBEDDING = 512  # numbers of an embedding


class Excitation(nn.Module):
    """Squeeze-and-excitation: scale each channel by a factor in (0, 1) that depends on the means of all."""

    def __init__(self, channels: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        within = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, within, 1, bias=False)
        self.fc2 = nn.Conv2d(within, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x [N, C, H, W]` with its channels scaled."""
        means = x.mean((2, 3), keepdim=True)  # [N, C, 1, 1]
        return x * self.fc2(self.fc1(means).relu()).sigmoid()


class Unit(nn.Module):
    """Improved residual unit, `[N, C, H, W] -> [N, C', H / stride, W / stride]`; the second convolution strides."""

    def __init__(self, in_channels: int, channels: int, stride: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if in_channels != channels:
            widen = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(widen, nn.BatchNorm2d(channels))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            _conv3x3(in_channels, channels),
            nn.PReLU(channels),
            _conv3x3(channels, channels, stride),
            nn.BatchNorm2d(channels),
            Excitation(channels, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, C', H / stride, W / stride]` for `x [N, C, H, W]`."""
        return self.shortcut_layer(x) + self.res_layer(x)


class IrSe50Body(nn.Module):
    """The convolutional part: 24 units of four stages.

    Args:
        in_channels: channels of the images; the published weights are for 3.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        width = STAGES[0][0]
        self.input_layer = nn.Sequential(_conv3x3(in_channels, width), nn.BatchNorm2d(width), nn.PReLU(width))
        units = []
        for channels, count in STAGES:
            for number in range(count):
                units.append(Unit(width, channels, stride=2 if number == 0 else 1))
                width = channels
        self.body = nn.Sequential(*units)

    def maps(self, images: Tensor, units: Sequence[int] = (6, 20, 23)) -> list[Tensor]:
        """Return the outputs of the units with the numbers `units`, in the order of the network.

        The default is the ends of the last three stages: `[N, 128, H/4, W/4]`, `[N, 256, H/8, W/8]` and
        `[N, 512, H/16, W/16]`, for images `[N, in_channels, H, W]`, RGB in [-1, 1].
        """
        x = self.input_layer(images)
        maps = []
        for number, unit in enumerate(self.body):
            x = unit(x)
            if number in units:
                maps.append(x)
        return maps


class IrSe50(IrSe50Body):
    """The whole network: faces to embeddings, whose angles tell identities apart."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        channels = STAGES[-1][0]
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(channels * OUTPUT_SIDE**2, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings `[N, 512]` of length 1, for images `[N, in_channels, 112, 112]`, RGB in [-1, 1]."""
        return self.layers(images)[-1]

    def layers(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of the four stages, and embeddings `[N, 512]` of length 1, of the same images."""
        shape = (INPUT_SIDE, INPUT_SIDE)
        assert images.shape[2:] == shape, f"images of shape {list(images.shape)}, not of {INPUT_SIDE} px"
        maps = self.maps(images, ENDS)
        return [*maps, F.normalize(self.output_layer(maps[-1]))]


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
