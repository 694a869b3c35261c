"""Modulated layers that see one place at a time, and the same at each: StyleGAN2's, with a kernel of 1x1."""

import math

import torch
from torch import Tensor, nn

from networks.layers import FullyConnected, folded_gain
from torch_utils.ops.bias_act import bias_act


class PlaceLayer(nn.Module):
    """A demodulated layer with bias and leaky ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        w_dim: width of the latent.
        clamp: bound of the activations.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, clamp: float):
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map `x [N, C_in, H, W]` and `w [N, w_dim]` to `[N, C_out, H, W]`, both channels_last."""
        gain = folded_gain("lrelu", 1.0)
        weight = self.weight * self.affine(w)[:, None]  # [N, C_out, C_in]
        weight = weight * ((weight.square().sum(2, keepdim=True) + 1e-8).rsqrt() * gain)
        return bias_act(at_each_place(x, weight), self.bias * gain, act="lrelu", gain=1, clamp=self.clamp)


class ToOutput(nn.Module):
    """A linear layer to what blocks add up: lines, or the image. Not demodulated."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, clamp: float):
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map `x [N, C_in, H, W]` and `w [N, w_dim]` to `[N, C_out, H, W]`, float32."""
        weight = self.weight * (self.affine(w) * self.weight_gain)[:, None]  # [N, C_out, C_in]
        return bias_act(at_each_place(x, weight), self.bias, clamp=self.clamp).float()


def at_each_place(x: Tensor, weight: Tensor) -> Tensor:
    """Apply the matrices `weight [N or 1, C_out, C_in]` to the channels of `x [N, C_in, H, W]`, channels_last.

    Places are many and channels few, so that scaling each image's matrix is nothing beside scaling its features.
    """
    places = x.flatten(2).transpose(1, 2)  # [N, H * W, C_in]
    y = places @ weight.to(x.dtype).transpose(1, 2)  # [N, H * W, C_out]
    return y.transpose(1, 2).unflatten(2, x.shape[2:])
