"""The layers of StyleGAN2's networks; all learn at an equal rate (weights begin as N(0, 1), scaled at run time)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torch_utils.ops.bias_act import ACTIVATIONS, bias_act
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.epilogue import epilogue
from torch_utils.ops.modulated_conv2d import modulated_conv2d, modulated_projection
from torch_utils.ops.rings import ring_size
from torch_utils.ops.upfirdn2d import setup_filter

RESAMPLE_TAPS = (1, 3, 3, 1)


def folded_gain(act: str, gain: float) -> float:
    """Return the factor of weight and bias that replaces a gain after the activation.

    These activations scale with their argument, and a weight is so much smaller than what it makes.
    """
    assert act in ("linear", "relu", "lrelu"), f"{act} does not scale with its argument"
    return ACTIVATIONS[act].gain * gain


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale each row of `[N, C]` so that its mean square is one."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def split(x: Tensor, sizes: int | list[int], dim: int) -> list[Tensor]:
    """Return the parts of `x [N, C, H, W]` along images (0) or channels (1); the derivative too stays channels_last."""
    if sizes == x.shape[dim]:
        return [x]  # without a copy of the gradient
    parts = x.permute(0, 2, 3, 1).split(sizes, dim=3 if dim == 1 else dim)
    return [part.permute(0, 3, 1, 2) for part in parts]


def repeat_rows(x: Tensor, rows: int) -> Tensor:
    """Repeat 1 or N rows until there are `rows`; not by `len`, which exporters take as a promise of a fixed number."""
    return x if x.shape[0] == rows else torch.cat([x] * (rows // x.shape[0]))


class FullyConnected(nn.Module):
    """`[N, in_features] -> [N, out_features]`, with an optional bias and activation."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        act: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ):
        super().__init__()
        self.act = act
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init))) if bias else None
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, out_features]` for `x [N, in_features]`."""
        if self.act == "linear" and self.bias is not None:
            bias, weight = self.bias.to(x.dtype), self.weight.to(x.dtype).t()
            return torch.addmm(bias, x, weight, beta=self.bias_gain, alpha=self.weight_gain)
        return self.activate(self.product(x))

    def product(self, x: Tensor) -> Tensor:
        """Return `[N, out_features]` of `x [N, in_features]`, before bias and activation."""
        return x @ (self.weight.to(x.dtype) * self.weight_gain).t()

    def activate(self, product: Tensor) -> Tensor:
        """Return such a product with bias and activation."""
        bias = None if self.bias is None else self.bias.to(product.dtype) * self.bias_gain
        return bias_act(product, bias, act=self.act)


def perceptron(widths: Sequence[int], bias: bool = True) -> nn.Sequential:
    """Return fully connected layers between features of these widths, leaky ReLU behind all but the last."""
    acts = [*["lrelu"] * (len(widths) - 2), "linear"]
    sides = zip(widths[:-1], widths[1:], acts, strict=True)
    return nn.Sequential(*(FullyConnected(before, after, bias=bias, act=act) for before, after, act in sides))


class Convolution(nn.Module):
    """`[N, C_in, H, W] -> [N, C_out, H * up / down, W * up / down]`, with an optional bias and activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        act: str = "linear",
        up: int = 1,
        down: int = 1,
        conv_clamp: float | None = None,
    ):
        super().__init__()
        self.act = act
        self.up = up
        self.down = down
        self.conv_clamp = conv_clamp
        self.resample_filter: Tensor
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Return the output for `x [N, C_in, H, W]`; `gain` multiplies it, and the bound that it is clamped to."""
        factor = folded_gain(self.act, gain)
        weight = (self.weight * (self.weight_gain * factor)).to(x.dtype)
        padding = self.weight.shape[-1] // 2
        x = conv2d_resample(
            x, weight, self.resample_filter, up=self.up, down=self.down, padding=padding, flip_weight=self.up == 1
        )
        bias = None if self.bias is None else self.bias * factor
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return bias_act(x, bias, act=self.act, gain=1, clamp=clamp)


class SynthesisLayer(nn.Module):
    """A modulated convolution with noise, bias and leaky ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        w_dim: width of the latent.
        resolution: side of the output.
        up: upsampling factor.
        conv_clamp: bound of the activations, or None.
        extra_channels: outputs beyond `out_channels`, computed only with `extra` (`released` DegradBlock).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        up: int = 1,
        conv_clamp: float | None = None,
        extra_channels: int = 0,
    ):
        super().__init__()
        self.out_channels = out_channels
        self.resolution = resolution
        self.up = up
        self.conv_clamp = conv_clamp
        self.noise_const: Tensor
        self.resample_filter: Tensor
        width = out_channels + extra_channels
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(width, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(width))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        noise: Tensor | None,
        gain: float = 1.0,
        extra: bool = False,
        ring: Tensor | None = None,
    ) -> Tensor:
        """Map `x [N, C_in, h, w]` and `w [N, w_dim]` to `[N, out_channels (+ extra_channels if extra), H, W]`.

        `noise` is `[N or 1, 1, H, W]` with unit variance, or None; `ring` stands in place of zero padding, or of the
        zeros around the enlarged features where the layer upsamples (`ring_shape`).
        """
        weight, bias = (self.weight, self.bias) if extra else self._main()
        factor = folded_gain("lrelu", gain)
        x, scale = modulated_conv2d(
            x,
            weight,
            self.affine(w),
            up=self.up,
            padding=1,
            resample_filter=self.resample_filter,
            flip_weight=self.up == 1,
            gain=factor,
            ring=ring,
        )
        strength = None if noise is None else self.noise_strength * factor
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return epilogue(x, scale, noise, strength, bias * factor, clamp)

    @property
    def ring_shape(self) -> tuple[int, int]:
        """Channels and pixels of the ring that this layer may read (Bai et al. 2022)."""
        if self.up == 1:
            return self.weight.shape[1], ring_size(self.resolution + 2)
        return self.out_channels, ring_size(self.resolution + 3)

    def _main(self) -> tuple[Tensor, Tensor]:
        if self.weight.shape[0] == self.out_channels:
            return self.weight, self.bias
        return self.weight[: self.out_channels], self.bias[: self.out_channels]


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to image channels, without demodulation."""

    def __init__(self, in_channels: int, img_channels: int, w_dim: int, conv_clamp: float | None = None):
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map `x [N, C, H, W]` and `w [N, w_dim]` to `[N, img_channels, H, W]`."""
        styles = self.affine(w) * self.weight_gain
        x = modulated_projection(x, self.weight, styles)
        return bias_act(x, self.bias, clamp=self.conv_clamp)


class MinibatchStd(nn.Module):
    """Append `num_channels` maps that hold the standard deviation over groups of images.

    Args:
        group_size: images in a group, or None for the whole batch; the batch must hold whole groups.
        num_channels: maps; each looks at its own share of the channels.
    """

    def __init__(self, group_size: int | None, num_channels: int = 1):
        super().__init__()
        self.group_size = group_size
        self.num_channels = num_channels

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        """Return `[N, C + num_channels, H, W]` for `x [N, C, H, W]`, each of whose equal `parts` has its own groups."""
        channels, height, width = x.shape[1:]
        images = len(x) // parts
        group = images if self.group_size is None else min(self.group_size, images)
        groups = images // group
        assert len(x) == parts * groups * group, f"{len(x)} images are not {parts} times whole groups of {group}"
        # Image i of a part belongs to its group i mod (images / group).
        y = x.float().reshape(parts, group, groups, self.num_channels, channels // self.num_channels, height, width)
        deviation = (y.var(1, correction=0) + 1e-8).sqrt().mean([3, 4, 5]).to(x.dtype)  # [parts, groups, num_channels]
        maps = deviation[:, None, :, None, None].expand(-1, group, -1, height, width, -1).flatten(0, 2)
        return torch.cat([x.permute(0, 2, 3, 1), maps], dim=3).permute(0, 3, 1, 2)  # stays channels_last
