"""Convolutional parts of AlexNet, VGG16 and SqueezeNet, trained on ImageNet; LPIPS compares their ReLU outputs.

Modules are numbered as in the published files (`features.0.weight`, ...), and end where the last output is taken.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from dnnlib.errors import UserError
from torch_utils.untrusted.state_dicts import load_state_dict

Network = TypeVar("Network", bound=nn.Module)


class Backbone(nn.Module):
    """A chain of layers, and the numbers of those whose outputs `maps` returns.

    Attributes:
        name: the network's usual name.
        output_layers: numbers of the layers whose outputs `maps` returns.
        channels: number of channels of each of these outputs.
        smallest: side in pixels of the smallest image for which each output has a pixel.
    """

    name: str
    output_layers: tuple[int, ...]
    channels: tuple[int, ...]
    smallest: int

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return maps `[N, channels[l], H_l, W_l]`, none negative, of normalised images `[N, 3, H, W]`."""
        maps = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.output_layers:
                maps.append(x)
        return maps


class AlexNet(Backbone):
    """Krizhevsky, "One weird trick for parallelizing convolutional neural networks": one tower, no LRN."""

    name = "AlexNet"
    output_layers = (1, 4, 7, 9, 11)
    channels = (64, 192, 384, 256, 256)
    smallest = 31

    def __init__(self) -> None:
        c1, c2, c3, c4, c5 = self.channels
        first = [*_conv_relu(3, c1, 11, stride=4, padding=2), nn.MaxPool2d(3, 2)]
        second = [*_conv_relu(c1, c2, 5, padding=2), nn.MaxPool2d(3, 2)]
        rest = [_conv_relu(narrow, wide, 3, padding=1) for narrow, wide in pairwise((c2, c3, c4, c5))]
        super().__init__(sum(rest, first + second))


class Vgg16(Backbone):
    """Simonyan & Zisserman 2015, configuration D; outputs are relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3."""

    name = "VGG16"
    output_layers = (3, 8, 15, 22, 29)
    channels = (64, 128, 256, 512, 512)
    smallest = 16

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        width = 3
        for wide, count in zip(self.channels, (2, 2, 3, 3, 3), strict=True):
            for _ in range(count):
                layers += _conv_relu(width, wide, 3, padding=1)
                width = wide
            layers.append(nn.MaxPool2d(2))
        super().__init__(layers[:-1])


class Fire(nn.Module):
    """Squeeze to few channels, then expand by 1x1 and by 3x3, half of the outputs each (Iandola et al. 2016)."""

    def __init__(self, in_channels: int, squeeze_channels: int, out_channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze_channels, 1)
        self.expand1x1 = nn.Conv2d(squeeze_channels, out_channels // 2, 1)
        self.expand3x3 = nn.Conv2d(squeeze_channels, out_channels // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, out_channels, H, W]` for `x [N, in_channels, H, W]`."""
        x = self.squeeze(x).relu_()  # [N, squeeze_channels, H, W]
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1).relu_()  # [N, out_channels, H, W]


class SqueezeNet(Backbone):
    """SqueezeNet 1.1; outputs are the first ReLU, the Fire modules before a pooling, and all after the last pooling."""

    name = "SqueezeNet"
    output_layers = (1, 4, 7, 9, 10, 11, 12)
    channels = (64, 128, 256, 384, 384, 512, 512)
    smallest = 17

    def __init__(self) -> None:
        layers = _conv_relu(3, 64, 3, stride=2)
        layers += [_max_pool(), Fire(64, 16, 128), Fire(128, 16, 128)]
        layers += [_max_pool(), Fire(128, 32, 256), Fire(256, 32, 256)]
        layers += [_max_pool(), Fire(256, 48, 384), Fire(384, 48, 384)]
        layers += [Fire(384, 64, 512), Fire(512, 64, 512)]
        super().__init__(layers)


def load_published(network: Network, path: Path, what: str) -> Network:
    """Fill a network from the tensors of its names in a file, and freeze it; the file's other tensors are dropped.

    Raises UserError as `read_tensors` does.
    """
    counters = "num_batches_tracked"  # counters of batch normalisation; of no use, and not in every file
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if not name.endswith(counters)}
    network.load_state_dict(read_tensors(path, shapes, what), strict=False)
    return network.eval().requires_grad_(False)


def read_tensors(path: Path, shapes: Mapping[str, Sequence[int]], what: str) -> dict[str, Tensor]:
    """Return tensors from a file of weights, float32.

    Args:
        path: file of weights.
        shapes: shape of each tensor that is read, by name.
        what: name of the network, for messages.

    Raises UserError for a file that cannot be read, or lacks one of the tensors, or has it in another shape.
    """
    state = load_state_dict(path)
    for name, shape in shapes.items():
        if name not in state:
            raise UserError(f"{path} is not {what} as published, it has no {name}; fetch the file again")
        if state[name].shape != torch.Size(shape):
            raise UserError(
                f"{path} is not {what} as published, {name} has shape {list(state[name].shape)} instead of "
                f"{list(shape)}; fetch the file again"
            )
    return {name: state[name].float() for name in shapes}


def _conv_relu(in_channels: int, out_channels: int, size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, size, stride, padding), nn.ReLU(inplace=True)]


def _max_pool() -> nn.MaxPool2d:
    """Return SqueezeNet's pooling, which rounds sizes up."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)
