"""StyleGAN2: mapping, synthesis and discriminator. Parameter names are those of published checkpoints."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from networks.config import GeneratorConfig
from networks.layers import (
    RESAMPLE_TAPS,
    Convolution,
    SynthesisLayer,
    ToRGB,
)
from networks.mapping import MappingNetwork
from networks.resolutions import block_dtype, channels_at, resolutions
from torch_utils.ops.upfirdn2d import setup_filter, upsample2d

# For each synthesis block the noise of its layers, [N or 1, 1, H, W] or None.
Noise = list[list[Tensor | None]]


class NormalSource(Protocol):
    """Where random noise comes from: `torch_utils.seeding.BatchRandom`, or anything with its `randn`."""

    def randn(self, *shape: int) -> Tensor: ...


class SynthesisBlock(nn.Module):
    """All layers of one resolution.

    Args:
        config: architecture and precision.
        in_channels: of the features that enter; 0: none, the block starts from a learned constant.
        out_channels: of the features that leave.
        w_dim: width of the latent.
        resolution: of the output.
        img_channels: of the image.
        is_last: the highest resolution, which gives the image in every architecture.
        dtype: in which the block computes.
    """

    def __init__(
        self,
        config: GeneratorConfig,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        is_last: bool,
        dtype: torch.dtype,
    ):
        super().__init__()
        self.in_channels, self.out_channels, self.w_dim = in_channels, out_channels, w_dim
        self.resolution, self.dtype = resolution, dtype
        self.conv_clamp = config.precision.clamp
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution, 2, self.conv_clamp)
        self.conv1 = self.make_conv1()
        if is_last or config.architecture == "skip":
            self.torgb = ToRGB(out_channels, img_channels, w_dim, self.conv_clamp)
        if in_channels != 0 and config.architecture == "resnet":
            self.skip = Convolution(in_channels, out_channels, 1, bias=False, up=2)
        self.num_conv = 1 if in_channels == 0 else 2

    def make_conv1(self) -> SynthesisLayer:
        """Return the block's last convolution."""
        return SynthesisLayer(self.out_channels, self.out_channels, self.w_dim, self.resolution, 1, self.conv_clamp)

    def forward(
        self, x: Tensor | None, img: Tensor | None, ws: Tensor, noise: list[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Map features `[N, C_in, R/2, R/2]` and an image `[N, 3, R/2, R/2]` to those of resolution R.

        `ws` is `[N, num_conv + 1, w_dim]`: one for each convolution and one for the image.
        """
        f, shortcut = self.enter(x, ws, noise)
        y = self.conv1(f, ws[:, self.num_conv - 1], noise[-1], gain=self.residual_gain)
        return self.leave(y, shortcut, img, ws)

    @property
    def residual_gain(self) -> float:
        """Factor of both branches of a residual block, which keeps the variance of their sum."""
        return math.sqrt(0.5) if hasattr(self, "skip") else 1.0

    def enter(self, x: Tensor | None, ws: Tensor, noise: list[Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """Return the input `f` of conv1, and the shortcut past it (None but for `resnet`)."""
        if self.in_channels == 0:
            x = self.const.to(self.dtype).expand(ws.shape[0], -1, -1, -1)
            return x.contiguous(memory_format=torch.channels_last), None
        x = x.to(self.dtype)
        shortcut = self.skip(x, gain=self.residual_gain) if hasattr(self, "skip") else None
        return self.conv0(x, ws[:, 0], noise[0]), shortcut

    def leave(
        self, y: Tensor, shortcut: Tensor | None, img: Tensor | None, ws: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the block's features and the image so far, from the output `y` of conv1."""
        x = y if shortcut is None else y + shortcut
        img = None if img is None else upsample2d(img, self.resample_filter)
        if hasattr(self, "torgb"):
            rgb = self.torgb(x, ws[:, self.num_conv]).float()
            img = rgb if img is None else img + rgb
        return x, img


class SynthesisNetwork(nn.Module):
    """G_0: `ws` to images."""

    def __init__(self, config: GeneratorConfig, img_resolution: int, img_channels: int):
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = config.w_dim, img_resolution, img_channels
        self.num_ws = 0
        in_channels = 0
        for resolution in resolutions(img_resolution):
            block = self.make_block(config, in_channels, resolution)
            self.add_module(f"b{resolution}", block)
            in_channels = block.out_channels
            self.num_ws += block.num_conv
        self.num_ws += 1  # the last image

    def make_block(self, config: GeneratorConfig, in_channels: int, resolution: int) -> SynthesisBlock:
        """Return the block of one resolution."""
        return SynthesisBlock(*self.block_arguments(config, in_channels, resolution))

    def block_arguments(self, config: GeneratorConfig, in_channels: int, resolution: int) -> tuple:
        """Return the arguments of `SynthesisBlock`."""
        out_channels = channels_at(resolution, config.channel_base, config.channel_max)
        is_last = resolution == self.img_resolution
        dtype = block_dtype(resolution, self.img_resolution, config.precision)
        return config, in_channels, out_channels, self.w_dim, resolution, self.img_channels, is_last, dtype

    def block(self, index: int) -> SynthesisBlock:
        """Return block `index`; 0 is 4x4, negative ones count from the highest resolution."""
        return getattr(self, f"b{resolutions(self.img_resolution)[index]}")

    @property
    def num_blocks(self) -> int:
        """How many resolutions there are."""
        return len(resolutions(self.img_resolution))

    def block_ws(self, ws: Tensor, index: int) -> Tensor:
        """Return the part of `ws [N, num_ws, w_dim]` for block `index`; the image's `w` is also the next block's."""
        first = max(0, 2 * index - 1)
        return ws[:, first : first + self.block(index).num_conv + 1]

    def make_noise(self, noise_mode: str, batch: int, rng: NormalSource | None = None) -> Noise:
        """Return every layer's noise: `random` (from `rng`, or torch's global state), `const`, or `none`."""
        assert noise_mode in ("random", "const", "none"), f"unknown noise mode {noise_mode}"
        return [
            [self._layer_noise(layer, noise_mode, batch, rng) for layer in block_layers]
            for block_layers in self._layers()
        ]

    def forward(
        self, ws: Tensor, noise_mode: str = "random", rng: NormalSource | None = None, noise: Noise | None = None
    ) -> Tensor:
        """Map `ws [N, num_ws, w_dim]` to images `[N, img_channels, R, R]`, float32, nominally in [-1, 1]."""
        noise = self.make_noise(noise_mode, ws.shape[0], rng) if noise is None else noise
        _, img, _ = self.run(ws, noise, range(self.num_blocks))
        return img

    def run(
        self, ws: Tensor, noise: Noise, blocks: range, x: Tensor | None = None, img: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Run some blocks on what the ones before left; return features, image, and each block's features."""
        features = []
        for index in blocks:
            x, img = self.block(index)(x, img, self.block_ws(ws, index), noise[index])
            features.append(x)
        return x, img, features

    def _layers(self):
        blocks = [self.block(index) for index in range(self.num_blocks)]
        return [[block.conv1] if block.num_conv == 1 else [block.conv0, block.conv1] for block in blocks]

    @staticmethod
    def _layer_noise(layer, noise_mode, batch, rng):
        if noise_mode == "none":
            return None
        if noise_mode == "const":
            return layer.noise_const[None, None]
        size = layer.resolution
        if rng is None:
            return torch.randn(batch, 1, size, size, device=layer.noise_const.device)
        return rng.randn(1, size, size)


class Generator(nn.Module):
    """F_0: mapping and synthesis.

    Args:
        config: widths, architecture, precision.
        c_dim: width of the labels; 0: unconditional.
        img_resolution, img_channels: of the images.
    """

    synthesis_class = SynthesisNetwork

    def __init__(self, config: GeneratorConfig, c_dim: int, img_resolution: int, img_channels: int):
        super().__init__()
        self.config, self.c_dim = config, c_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.z_dim, self.w_dim = config.z_dim, config.w_dim
        self.synthesis = self.synthesis_class(config, img_resolution, img_channels)
        self.num_ws = self.synthesis.num_ws
        mapping = config.mapping
        self.mapping = MappingNetwork(
            config.z_dim,
            c_dim,
            config.w_dim,
            self.num_ws,
            num_layers=mapping.num_layers,
            lr_multiplier=mapping.lr_multiplier,
            w_avg_beta=mapping.w_avg_beta,
        )

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        **synthesis_kwargs,
    ) -> Tensor:
        """Map `z [N, z_dim]` (and `c [N, c_dim]`) to images `[N, img_channels, R, R]`."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, **synthesis_kwargs)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training changes, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
