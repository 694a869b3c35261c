"""StyleGAN2: mapping, synthesis and discriminator. Parameter names are those of published checkpoints."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from dnnlib.config import require
from networks.layers import (
    RESAMPLE_TAPS,
    Convolution,
    FullyConnected,
    MinibatchStd,
    SynthesisLayer,
    ToRGB,
    normalize_second_moment,
)
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter, upsample2d
from training.config import DiscriminatorConfig, GeneratorConfig, PrecisionConfig

# For each synthesis block the noise of its layers, [N or 1, 1, H, W] or None.
Noise = list[list[Tensor | None]]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class NormalSource(Protocol):
    """Where random noise comes from: `torch_utils.seeding.BatchRandom`, or anything with its `randn`."""

    def randn(self, *shape: int) -> Tensor: ...


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Return the number of feature maps at a resolution."""
    return max(1, min(channel_base // resolution, channel_max))


def block_dtype(resolution: int, img_resolution: int, precision: PrecisionConfig) -> torch.dtype:
    """Return the type in which the block of `resolution` computes."""
    distance = int(math.log2(img_resolution // resolution))  # 0 for the highest
    return DTYPES[precision.dtype] if distance < precision.blocks else torch.float32


def resolutions(img_resolution: int) -> list[int]:
    """Return 4, 8, ..., img_resolution."""
    assert img_resolution >= 4 and img_resolution & (img_resolution - 1) == 0, f"{img_resolution} is no power of two"
    return [2**i for i in range(2, int(math.log2(img_resolution)) + 1)]


class MappingNetwork(nn.Module):
    """M_0: latents and classes to `w`.

    Args:
        z_dim: width of the latent; 0: none (the discriminator's class embedding).
        c_dim: number of classes, or width of the label; 0: none.
        w_dim: width of the output.
        num_ws: copies of `w` that are returned; None: one, without the extra axis.
        num_layers, lr_multiplier: of the fully connected layers.
        w_avg_beta: how slowly `w_avg` follows `w`; None: not tracked.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.995,
    ):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.num_layers, self.w_avg_beta = num_layers, w_avg_beta
        if c_dim > 0:
            self.embed = FullyConnected(c_dim, w_dim)
        width = z_dim + (w_dim if c_dim > 0 else 0)
        for index in range(num_layers):
            layer = FullyConnected(width if index == 0 else w_dim, w_dim, act="lrelu", lr_multiplier=lr_multiplier)
            self.add_module(f"fc{index}", layer)
        if w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self, z: Tensor | None, c: Tensor | None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """Map `z [N, z_dim]` and `c [N, c_dim]` to `ws [N, num_ws, w_dim]`, drawn towards `w_avg` by psi < 1."""
        parts = []
        if self.z_dim > 0:
            assert z.shape[1] == self.z_dim, f"z is {tuple(z.shape)}, needs [N, {self.z_dim}]"
            parts.append(normalize_second_moment(z.float()))
        if self.c_dim > 0:
            assert c.shape[1] == self.c_dim, f"c is {tuple(c.shape)}, needs [N, {self.c_dim}]"
            parts.append(normalize_second_moment(self.embed(c.float())))
        x = torch.cat(parts, dim=1)
        for index in range(self.num_layers):
            x = getattr(self, f"fc{index}")(x)
        if self.num_ws is None:
            return x
        ws = x[:, None].expand(-1, self.num_ws, -1)
        if truncation_psi == 1:
            return ws
        drawn = self.w_avg.lerp(ws, truncation_psi)
        if truncation_cutoff is None:
            return drawn
        return torch.cat([drawn[:, :truncation_cutoff], ws[:, truncation_cutoff:]], dim=1)

    @torch.no_grad()
    def track_average(self, mean_w: Tensor) -> None:
        """Move `w_avg` towards the mean `[w_dim]` of a batch."""
        self.w_avg.lerp_(mean_w, 1 - self.w_avg_beta)


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


class DiscriminatorBlock(nn.Module):
    """All layers of one resolution; halves it.

    Args:
        in_channels: of the features that enter; 0: none, the block starts from the image.
        out_channels: of the features that leave.
        resolution: of the input.
        img_channels: of the image.
        config: architecture and precision.
        dtype: in which the block computes.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        resolution: int,
        img_channels: int,
        config: DiscriminatorConfig,
        dtype: torch.dtype,
    ):
        super().__init__()
        self.resolution, self.dtype, self.skip_images = resolution, dtype, config.architecture == "skip"
        clamp = config.precision.clamp
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        if in_channels == 0 or self.skip_images:
            self.fromrgb = Convolution(img_channels, channels, 1, act="lrelu", conv_clamp=clamp)
        self.conv0 = Convolution(channels, channels, 3, act="lrelu", conv_clamp=clamp)
        self.conv1 = Convolution(channels, out_channels, 3, act="lrelu", down=2, conv_clamp=clamp)
        if config.architecture == "resnet":
            self.skip = Convolution(channels, out_channels, 1, bias=False, down=2)

    def forward(self, x: Tensor | None, img: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map features and image of resolution R to those of R/2."""
        if hasattr(self, "fromrgb"):
            y = self.fromrgb(img.to(self.dtype))
            x = y if x is None else x.to(self.dtype) + y
            img = downsample2d(img, self.resample_filter) if self.skip_images else None
        x = x.to(self.dtype)
        if hasattr(self, "skip"):
            shortcut = self.skip(x, gain=math.sqrt(0.5))
            return shortcut + self.conv1(self.conv0(x), gain=math.sqrt(0.5)), img
        return self.conv1(self.conv0(x)), img


class DiscriminatorEpilogue(nn.Module):
    """4x4 features to logits, or to a vector that is compared with the class embedding."""

    def __init__(self, channels: int, cmap_dim: int, img_channels: int, config: DiscriminatorConfig):
        super().__init__()
        self.cmap_dim = cmap_dim
        clamp = config.precision.clamp
        maps = config.mbstd_channels
        require(not maps or channels % maps == 0, "discriminator.mbstd_channels", maps, f"a divisor of {channels}")
        if config.architecture == "skip":
            self.fromrgb = Convolution(img_channels, channels, 1, act="lrelu")
        self.mbstd = MinibatchStd(config.mbstd_group_size, config.mbstd_channels) if config.mbstd_channels else None
        self.conv = Convolution(channels + config.mbstd_channels, channels, 3, act="lrelu", conv_clamp=clamp)
        self.fc = FullyConnected(channels * 4 * 4, channels, act="lrelu")
        self.out = FullyConnected(channels, cmap_dim or 1)

    def forward(self, x: Tensor, img: Tensor | None, cmap: Tensor | None) -> Tensor:
        """Map `x [N, C, 4, 4]` to logits `[N, 1]`."""
        x = x.float()
        if hasattr(self, "fromrgb"):
            x = x + self.fromrgb(img.float())
        if self.mbstd is not None:
            x = self.mbstd(x)
        x = self.conv(x)
        x = self.out(self.fc(x.flatten(1)))
        if cmap is None:
            return x
        return (x * cmap).sum(1, keepdim=True) / math.sqrt(self.cmap_dim)


class Discriminator(nn.Module):
    """Images to realness.

    Args:
        config: widths, architecture, precision, frozen layers.
        c_dim: width of the labels; 0: unconditional.
        img_resolution, img_channels: of the images.

    Raises UserError where the configuration does not fit the images.
    """

    def __init__(self, config: DiscriminatorConfig, c_dim: int, img_resolution: int, img_channels: int):
        super().__init__()
        require(img_resolution >= 8, "resolution", img_resolution, "at least 8; enlarge the images")
        self.config, self.c_dim = config, c_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.block_resolutions = resolutions(img_resolution)[:0:-1]  # highest first, down to 8
        widths = {res: channels_at(res, config.channel_base, config.channel_max) for res in resolutions(img_resolution)}
        in_channels = 0
        for resolution in self.block_resolutions:
            dtype = block_dtype(resolution, img_resolution, config.precision)
            out_channels = widths[resolution // 2]
            block = DiscriminatorBlock(
                in_channels, widths[resolution], out_channels, resolution, img_channels, config, dtype
            )
            self.add_module(f"b{resolution}", block)
            in_channels = out_channels
        cmap_dim = widths[4] if c_dim > 0 else 0
        if c_dim > 0:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, None, num_layers=config.mapping_layers, w_avg_beta=None)
        self.b4 = DiscriminatorEpilogue(widths[4], cmap_dim, img_channels, config)
        self._freeze(config.freeze_layers)

    def forward(self, img: Tensor, c: Tensor | None = None) -> Tensor:
        """Map images `[N, C, R, R]` (nominally in [-1, 1]) and labels `[N, c_dim]` to logits `[N, 1]`."""
        img = img.contiguous(memory_format=torch.channels_last)
        x = None
        for resolution in self.block_resolutions:
            x, img = getattr(self, f"b{resolution}")(x, img)
        cmap = self.mapping(None, c) if self.c_dim > 0 else None
        return self.b4(x, img, cmap)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training changes, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def _freeze(self, count):
        """Freeze-D (Mo et al. 2020): the first `count` layers, counted from the image, keep their weights."""
        names = ("fromrgb", "conv0", "conv1", "skip")
        blocks = [getattr(self, f"b{resolution}") for resolution in self.block_resolutions]
        layers = [getattr(block, name) for block in blocks for name in names if hasattr(block, name)]
        require(count <= len(layers), "discriminator.freeze_layers", count, f"at most {len(layers)}")
        for layer in layers[:count]:
            layer.requires_grad_(False)
