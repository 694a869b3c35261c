"""DegradBlock (paper, section 3.2): features and a quality code to a residual that vanishes with the code.

Every variant maps `f [N, C, H, W]` and `q [N, D_q]` to `r [N, C', H, W]`, homogeneous of degree 1 in `q` (Eq. 10):
what depends on `q` is linear in it, and what follows are bias-free convolutions and ReLU. The paper has Eq. 10 for all
real factors; because of ReLU it holds from zero on. (`pixels` may depend on the direction of `q` in any way.)
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.config import QualityConfig
from networks.generators.own_kernels import OwnKernels
from networks.layers import Convolution, split

MAX_STRENGTH = 6e4  # largest factor of a quality code that counts; float16 ends at 65504
GRID = 8  # side of JPEG's blocks, in pixels of the image
NOISE_MAPS = 3  # red, green and blue are independent
NOISE_GAIN = 0.75  # three maps at this strength have about the power of all features together
GRID_GAIN = 0.25  # strength of what depends on the place alone, beside features whose power is far below one


class Projection(nn.Module):
    """pi (Eq. 9): `depth` bias-free convolutions, ReLU between them. The last begins at zero: training starts sharp."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int, depth: int, kernel_size: int):
        super().__init__()
        for index in range(depth):
            first, last = index == 0, index == depth - 1
            act = "linear" if last else "relu"
            widths = in_channels if first else hidden, out_channels if last else hidden
            layer = Convolution(*widths, kernel_size, bias=False, act=act)
            self.add_module(str(index), layer)
        self.depth = depth
        nn.init.zeros_(layer.weight)

    def hidden(self, r: Tensor) -> Tensor:
        """Return what the last convolution reads, `[N, hidden, H, W]`."""
        for index in range(self.depth - 1):
            r = getattr(self, str(index))(r)
        return r

    def last(self, hidden: Tensor) -> Tensor:
        """Apply the last convolution."""
        return getattr(self, str(self.depth - 1))(hidden)

    def forward(self, r: Tensor) -> Tensor:
        return self.last(self.hidden(r))


class PaperDegradBlock(nn.Module):
    """The paper's own: r = pi(phi(c(f), q)).

    The convolution c to L * D_q channels (Eq. 7) and the combination phi (Eq. 8) are both linear, so their order may be
    exchanged: combining the *weights* of c with each image's q first leaves a convolution to L channels, which takes
    D_q times less arithmetic than Eq. 7 read literally and gives the same numbers.
    """

    by_taps = False  # whether that convolution is computed tap by tap, for graphs of any batch size

    def __init__(self, config: QualityConfig, in_channels: int, out_channels: int):
        super().__init__()
        self.q_dim = config.q_dim
        self.channels = config.width
        self.weight = nn.Parameter(torch.randn(config.q_dim * config.width, in_channels, 3, 3))
        # phi adds D_q components of unit variance, each times q_i ~ N(0, 1).
        self.weight_gain = 1 / math.sqrt(in_channels * 9 * config.q_dim)
        self.convq = Projection(config.width, config.width, out_channels, config.depth, kernel_size=3)

    def forward(self, f: Tensor, q: Tensor, noise: Tensor | None = None) -> Tensor:
        r = self.convq(self.add_place(self.combine(self.inputs(f, noise), q), q))  # [N, C', H, W]
        return r if noise is None else self.add_noise(r, q, noise)

    def noise_consts(self) -> list[Tensor]:
        """Return the stored noise `[maps, H, W]` of a block that takes noise."""
        return []

    def inputs(self, f: Tensor, noise: Tensor | None) -> Tensor:
        """Return what c convolves."""
        return f

    def add_place(self, r: Tensor, q: Tensor) -> Tensor:
        """Add what c gives for the place alone to r_2 `[N, L, H, W]`."""
        return r

    def add_noise(self, r: Tensor, q: Tensor, noise: Tensor) -> Tensor:
        """Add noise to the residual `[N, C', H, W]`."""
        return r

    def combined_weights(self, q: Tensor) -> Tensor:
        """Return each image's own convolution, `[N, L, C, 3, 3]`."""
        combined = (q * self.weight_gain) @ self.weight.view(self.q_dim, -1)  # [N, L * C * 9]
        return combined.view(-1, self.channels, *self.weight.shape[1:])

    def combine(self, f: Tensor, q: Tensor) -> Tensor:
        """Return r_2 (Eqs. 7 and 8), `[N, L, H, W]`."""
        images, channels, height, width = f.shape
        weight = self.combined_weights(q).to(f.dtype)
        if self.by_taps:
            return convolve_by_taps(f, weight)
        if f.device.type == "cpu":  # which takes two to three times as long for groups
            each = zip(split(f, 1, 0), weight.unbind(), strict=True)
            parts = [F.conv2d(image, own, padding=1) for image, own in each]
            return torch.cat(parts) if len(parts) > 1 else parts[0]
        # One group an image.
        r = F.conv2d(f.reshape(1, images * channels, height, width), weight.flatten(0, 1), padding=1, groups=images)
        return r.view(images, self.channels, height, width).contiguous(memory_format=torch.channels_last)


class PlacedDegradBlock(PaperDegradBlock):
    """The paper's block, whose c also reads noise of its own and the place in JPEG's grid of 8x8 pixels.

    Features carry one map of noise, at a strength that the sharp image chooses, and hardly tell where the grid lies:
    convolutions are translation equivariant. So noise of three independent channels and the borders of blocks are out
    of reach for the paper's block. What c reads besides depends on neither w nor q, so that r_2 stays linear in q.

    A convolution of the place is a pattern that repeats with the grid; c holds it as that pattern, `grid`, one value a
    channel and place, which costs no convolution. Noise also enters the residual itself, mixed by weights linear in q:
    additive noise need not find its way through pi.

    Args:
        config: sizes.
        in_channels: channels of f.
        out_channels: channels of the residual.
        resolution: side of f, at which the place is counted.
        img_resolution: side of the images, whose pixels the grid's period counts.
    """

    def __init__(
        self, config: QualityConfig, in_channels: int, out_channels: int, resolution: int, img_resolution: int
    ):
        super().__init__(config, in_channels + NOISE_MAPS, out_channels)
        self.period = grid_period(resolution, img_resolution)
        self.grid: nn.Parameter | None = None
        self.noise_const: Tensor
        self.register_buffer("noise_const", torch.randn(NOISE_MAPS, resolution, resolution))
        if self.period > 1:  # a grid of single pixels has no place within it
            self.grid = nn.Parameter(torch.randn(config.q_dim, config.width, self.period, self.period))
        self.grid_gain = GRID_GAIN / math.sqrt(config.q_dim)
        self.noise_mix = nn.Parameter(torch.zeros(config.q_dim, NOISE_MAPS, out_channels))
        self.noise_gain = NOISE_GAIN / math.sqrt(config.q_dim)

    def noise_consts(self) -> list[Tensor]:
        return [self.noise_const]

    def inputs(self, f: Tensor, noise: Tensor | None) -> Tensor:
        """Return f and noise, `[N, C + 3, H, W]`."""
        images, _, height, width = f.shape
        noise = f.new_zeros(1, NOISE_MAPS, height, width) if noise is None else NOISE_GAIN * noise.to(f.dtype)
        return beside(f, noise.expand(images, -1, -1, -1))

    def add_noise(self, r: Tensor, q: Tensor, noise: Tensor) -> Tensor:
        return r + mixed_noise(noise, (q * self.noise_gain) @ self.noise_mix.flatten(1)).to(r.dtype)

    def add_place(self, r: Tensor, q: Tensor) -> Tensor:
        if self.grid is None:
            return r
        pattern = (q * self.grid_gain) @ self.grid.flatten(1)  # [N, L * period * period]
        pattern = pattern.view(q.shape[0], *self.grid.shape[1:]).to(r.dtype)  # [N, L, period, period]
        pattern = pattern.permute(0, 2, 3, 1)[:, None, :, None]  # [N, 1, period, 1, period, L]
        cells = r.permute(0, 2, 3, 1).unflatten(2, (-1, self.period)).unflatten(1, (-1, self.period))
        return (cells + pattern).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def grid_period(resolution: int, img_resolution: int) -> int:
    """Return the side of JPEG's blocks of an image in places of features that cover it, at least 1."""
    return max(1, GRID * resolution // img_resolution)


def beside(f: Tensor, maps: Tensor) -> Tensor:
    """Return features `[N, C, H, W]` and behind them maps `[N, K, H, W]`, in the layout channels_last."""
    return torch.cat([each.permute(0, 2, 3, 1) for each in (f, maps)], dim=3).permute(0, 3, 1, 2)


def mixed_noise(noise: Tensor, mix: Tensor) -> Tensor:
    """Return maps of noise `[N or 1, maps, H, W]` mixed by each image's `mix [N, maps * C]`, `[N, C, H, W]`."""
    pixels = noise.permute(0, 2, 3, 1).flatten(1, 2).expand(mix.shape[0], -1, -1)  # [N, H * W, maps]
    mixed = pixels @ mix.unflatten(1, (noise.shape[1], -1))  # [N, H * W, C]
    return mixed.unflatten(1, noise.shape[2:]).permute(0, 3, 1, 2)


class AdainDegradBlock(nn.Module):
    """Ablation F: an AdaIN module in place of c and phi. Scale and shift are linear in q, without bias (Eq. 6)."""

    def __init__(self, config: QualityConfig, in_channels: int, out_channels: int):
        super().__init__()
        self.scale_and_shift = nn.Parameter(torch.randn(config.q_dim, 2 * in_channels))
        self.weight_gain = 1 / math.sqrt(config.q_dim)
        self.convq = Projection(in_channels, config.width, out_channels, config.depth, kernel_size=3)

    def noise_consts(self) -> list[Tensor]:
        """Return the stored noise of the block, which takes none."""
        return []

    def forward(self, f: Tensor, q: Tensor, noise: Tensor | None = None) -> Tensor:
        scale, shift = (q @ self.scale_and_shift * self.weight_gain)[:, :, None, None].to(f.dtype).chunk(2, dim=1)
        f = F.instance_norm(f).contiguous(memory_format=torch.channels_last)  # it leaves the other layout
        return self.convq(f * scale + shift)


def combine_components(extra: Tensor, q: Tensor) -> Tensor:
    """Return r_2 (Eq. 8) of the released model, `[N, L, H, W]`, whose c is part of conv1.

    The components have passed noise and activation, so the exchange of `PaperDegradBlock` is not possible here.

    Args:
        extra: conv1's extra channels, `[N, D_q * L, H, W]`.
        q: `[N, D_q]`.
    """
    channels, height, width = extra.shape[1:]
    weights = q[:, :, None, None] * torch.eye(channels // q.shape[1], device=q.device)  # [N, D_q, L, L]
    pixels = extra.permute(0, 2, 3, 1).flatten(1, 2)  # [N, H * W, D_q * L]
    # A matrix product reads each component once, and multiplies it with zeros in less time than a sum would take.
    r = pixels @ weights.flatten(1, 2).to(extra.dtype)  # [N, H * W, L]
    return r.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def convolve_by_taps(f: Tensor, weight: Tensor) -> Tensor:
    """Convolve images `[N, C, H, W]` each by weights of its own, `[N, L, C, 3, 3]`, to `[N, L, H, W]`.

    Each of the nine taps is a matrix product with the shifted features, so that a graph need not know N.
    """
    height, width = f.shape[2:]
    around = F.pad(f, (1, 1, 1, 1))  # [N, C, H + 2, W + 2]
    shifted = [(y, x, around[:, :, y : y + height, x : x + width].flatten(2)) for y in range(3) for x in range(3)]
    products = (weight[:, :, :, y, x] @ pixels for y, x, pixels in shifted)  # [N, L, H * W] each
    return functools.reduce(torch.add, products).unflatten(2, (height, width))


def for_any_batch(synthesis: nn.Module) -> None:
    """Give the DegradBlocks of a network operations that are the same for every batch size."""
    for module in synthesis.modules():
        if isinstance(module, PaperDegradBlock | OwnKernels):
            module.by_taps = True


def typical_codes(q: Tensor) -> tuple[Tensor, Tensor]:
    """Return quality codes `[N, D_q]` at the length of typical ones, sqrt(D_q), and the factors `[N, 1]` to their own.

    By Eq. 10 the factor may come last, so that nothing before it overflows however strong a code is. And whatever is
    made of codes of one length, times the factor, fulfils Eq. 10.
    """
    factor = q.norm(dim=1, keepdim=True).clamp(min=1e-8) / math.sqrt(q.shape[1])
    return q / factor, factor


def strengthened(residual: Tensor, factor: Tensor, bound: float | None) -> Tensor:
    """Return the residual `[N, C, H, W]` of typical codes for `factor [N, 1]` times as long ones, within a bound."""
    residual = residual * factor.clamp(max=MAX_STRENGTH).to(residual.dtype)[:, :, None, None]
    return residual if bound is None else residual.clamp(-bound, bound)
