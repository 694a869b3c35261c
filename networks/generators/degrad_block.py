"""DegradBlock (paper, section 3.2): features and a quality code to a residual that vanishes with the code.

Every variant maps `f [N, C, H, W]` and `q [N, D_q]` to `r [N, C', H, W]`, homogeneous of degree 1 in `q` (Eq. 10):
what depends on `q` is linear in it, and what follows are bias-free convolutions and ReLU. The paper has Eq. 10 for all
real factors; because of ReLU it holds from zero on.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.config import QualityConfig
from networks.layers import Convolution, split

MAX_STRENGTH = 6e4  # largest norm of a quality code that counts; float16 ends at 65504
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

    has_place = True  # whether c reads the place

    def __init__(
        self, config: QualityConfig, in_channels: int, out_channels: int, resolution: int, img_resolution: int
    ):
        super().__init__(config, in_channels + NOISE_MAPS, out_channels)
        self.period = max(1, GRID * resolution // img_resolution)
        self.grid: nn.Parameter | None = None
        self.noise_const: Tensor
        self.register_buffer("noise_const", torch.randn(NOISE_MAPS, resolution, resolution))
        if self.has_place and self.period > 1:  # a grid of single pixels has no place within it
            self.grid = nn.Parameter(torch.randn(config.q_dim, config.width, self.period, self.period))
        self.grid_gain = GRID_GAIN / math.sqrt(config.q_dim)
        self.noise_mix = nn.Parameter(torch.zeros(config.q_dim, NOISE_MAPS, out_channels))
        self.noise_gain = NOISE_GAIN / math.sqrt(config.q_dim)

    def noise_consts(self) -> list[Tensor]:
        return [self.noise_const]

    def inputs(self, f: Tensor, noise: Tensor | None, image: Tensor | None = None) -> Tensor:
        """Return f, the image where there is one, and noise, `[N, C (+ img_channels) + 3, H, W]`."""
        images, _, height, width = f.shape
        noise = f.new_zeros(1, NOISE_MAPS, height, width) if noise is None else NOISE_GAIN * noise.to(f.dtype)
        maps = [f, *([] if image is None else [image.to(f.dtype)]), noise.expand(images, -1, -1, -1)]
        return torch.cat([each.permute(0, 2, 3, 1) for each in maps], dim=3).permute(0, 3, 1, 2)  # stays channels_last

    def add_noise(self, r: Tensor, q: Tensor, noise: Tensor) -> Tensor:
        mix = ((q * self.noise_gain) @ self.noise_mix.flatten(1)).view(q.shape[0], NOISE_MAPS, -1)  # [N, maps, C]
        pixels = noise.permute(0, 2, 3, 1).flatten(1, 2).expand(q.shape[0], -1, -1)  # [N, H * W, maps]
        mixed = (pixels @ mix).to(r.dtype)  # [N, H * W, C]
        return r + mixed.unflatten(1, r.shape[2:]).permute(0, 3, 1, 2)

    def add_place(self, r: Tensor, q: Tensor) -> Tensor:
        if self.grid is None:
            return r
        pattern = (q * self.grid_gain) @ self.grid.flatten(1)  # [N, L * period * period]
        pattern = pattern.view(q.shape[0], *self.grid.shape[1:]).to(r.dtype)  # [N, L, period, period]
        pattern = pattern.permute(0, 2, 3, 1)[:, None, :, None]  # [N, 1, period, 1, period, L]
        cells = r.permute(0, 2, 3, 1).unflatten(2, (-1, self.period)).unflatten(1, (-1, self.period))
        return (cells + pattern).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


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
    for block in synthesis.modules():
        if isinstance(block, PaperDegradBlock):
            block.by_taps = True


def unit_codes(q: Tensor) -> tuple[Tensor, Tensor]:
    """Return quality codes `[N, D_q]` of length 1, and their lengths `[N, 1]`.

    By Eq. 10 the strength of a code may come last, so that nothing before it overflows however strong it is.
    """
    strength = q.norm(dim=1, keepdim=True).clamp(min=1e-8)
    return q / strength, strength


def strengthened(residual: Tensor, strength: Tensor, bound: float) -> Tensor:
    """Return the residual `[N, C, H, W]` of unit codes for codes of the lengths `[N, 1]`, within a bound."""
    residual = residual * strength.clamp(max=MAX_STRENGTH).to(residual.dtype)[:, :, None, None]
    return residual.clamp(-bound, bound)
