"""StyleGAN2's discriminator. Parameter names are those of published checkpoints."""

import math

import torch
from torch import Tensor, nn

from dnnlib.config import require
from networks.config import DiscriminatorConfig
from networks.layers import (
    RESAMPLE_TAPS,
    Convolution,
    FullyConnected,
    MinibatchStd,
)
from networks.mapping import MappingNetwork
from networks.resolutions import block_dtype, channels_at, resolutions
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter


class DiscriminatorBlock(nn.Module):
    """All layers of one resolution; halves it.

    Args:
        in_channels: channels of the features that enter; 0: none, the block starts from the image.
        channels: channels at the block's own resolution.
        out_channels: channels of the features that leave.
        resolution: side of the input.
        img_channels: channels of the image.
        config: architecture and precision.
        dtype: number type in which the block computes.
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
        self.resolution = resolution
        self.dtype = dtype
        self.skip_images = config.architecture == "skip"
        self.resample_filter: Tensor
        self.fromrgb: Convolution | None = None
        self.skip: Convolution | None = None
        clamp = config.precision.clamp
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.grid: nn.Parameter | None = None
        if in_channels == 0 and config.grid > 0:
            side = config.window or resolution
            require(side % config.grid == 0, "discriminator.grid", config.grid, f"a divisor of {side}")
            self.grid = nn.Parameter(torch.zeros(channels, config.grid, config.grid))
        if in_channels == 0 or self.skip_images:
            self.fromrgb = Convolution(img_channels, channels, 1, act="lrelu", conv_clamp=clamp)
        self.conv0 = Convolution(channels, channels, 3, act="lrelu", conv_clamp=clamp)
        self.conv1 = Convolution(channels, out_channels, 3, act="lrelu", down=2, conv_clamp=clamp)
        if config.architecture == "resnet":
            self.skip = Convolution(channels, out_channels, 1, bias=False, down=2)

    def forward(self, x: Tensor | None, img: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map features `[N, C_in, R, R]` and an image `[N, 3, R, R]` to those of resolution R/2."""
        if self.fromrgb is not None:
            assert img is not None, f"no image enters the block of resolution {self.resolution}"
            y = self.fromrgb(img.to(self.dtype))
            x = y if x is None else x.to(self.dtype) + y
            img = downsample2d(img, self.resample_filter) if self.skip_images else None
        assert x is not None, f"no features enter the block of resolution {self.resolution}"
        x = x.to(self.dtype)
        if self.grid is not None:
            repeats = x.shape[-1] // self.grid.shape[1]
            x = x + self.grid.to(x.dtype).repeat(1, repeats, repeats)  # [N, C, R, R] + [C, R, R]
        if self.skip is not None:
            shortcut = self.skip(x, gain=math.sqrt(0.5))
            return shortcut + self.conv1(self.conv0(x), gain=math.sqrt(0.5)), img
        return self.conv1(self.conv0(x)), img


class DiscriminatorEpilogue(nn.Module):
    """4x4 features to logits, or to a vector that is compared with the class embedding."""

    def __init__(self, channels: int, cmap_dim: int, img_channels: int, config: DiscriminatorConfig):
        super().__init__()
        self.cmap_dim = cmap_dim
        self.fromrgb: Convolution | None = None
        clamp = config.precision.clamp
        maps = config.mbstd_channels
        require(not maps or channels % maps == 0, "discriminator.mbstd_channels", maps, f"a divisor of {channels}")
        if config.architecture == "skip":
            self.fromrgb = Convolution(img_channels, channels, 1, act="lrelu")
        self.mbstd = MinibatchStd(config.mbstd_group_size, config.mbstd_channels) if config.mbstd_channels else None
        self.conv = Convolution(channels + config.mbstd_channels, channels, 3, act="lrelu", conv_clamp=clamp)
        self.fc = FullyConnected(channels * 4 * 4, channels, act="lrelu")
        self.out = FullyConnected(channels, cmap_dim or 1)

    def forward(self, x: Tensor, img: Tensor | None, cmap: Tensor | None, parts: int = 1) -> Tensor:
        """Map `x [N, C, 4, 4]` to logits `[N, 1]`; deviations are those within each of so many equal parts."""
        x = x.float()
        if self.fromrgb is not None:
            assert img is not None, "no image enters the last block"
            x = x + self.fromrgb(img.float())
        if self.mbstd is not None:
            x = self.mbstd(x, parts)  # [N, C + mbstd_channels, 4, 4]
        x = self.conv(x)  # [N, C, 4, 4]
        x = self.out(self.fc(x.flatten(1)))  # [N, 1 or cmap_dim]
        if cmap is None:
            return x
        return (x * cmap).sum(1, keepdim=True) / math.sqrt(self.cmap_dim)


class Discriminator(nn.Module):
    """Images to realness.

    Args:
        config: widths, architecture, precision, frozen layers.
        c_dim: width of the labels; 0: unconditional.
        img_resolution: side of the images, R.
        img_channels: channels of the images.

    Raises UserError where the configuration does not fit the images.
    """

    def __init__(self, config: DiscriminatorConfig, c_dim: int, img_resolution: int, img_channels: int):
        super().__init__()
        require(img_resolution >= 8, "resolution", img_resolution, "at least 8", "enlarge the images")
        self.config = config
        self.c_dim = c_dim
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        side = config.window or img_resolution
        require(side <= img_resolution, "discriminator.window", side, f"at most {img_resolution}, the images' side")
        self.block_resolutions = resolutions(img_resolution)[:0:-1]  # highest first, down to 8
        self.block_resolutions = self.block_resolutions[: len(resolutions(side)) - 1]  # as many as bring `side` to 4
        widths = {res: channels_at(res, config.channel_base, config.channel_max) for res in resolutions(img_resolution)}
        in_channels = 0
        for resolution in self.block_resolutions:
            dtype = block_dtype(resolution, img_resolution, config.precision)
            out_channels = widths[4 if resolution == self.block_resolutions[-1] else resolution // 2]
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

    def forward(self, img: Tensor, c: Tensor | None = None, parts: int = 1) -> Tensor:
        """Map images `[N, C, R, R]` (nominally in [-1, 1]), or windows, and labels `[N, c_dim]` to logits `[N, 1]`.

        The images may be several batches of the same size, as fakes and reals, one after the other: so many `parts`,
        whose logits are those of a pass of their own.
        """
        assert len(img) % parts == 0, f"{len(img)} images are not {parts} equal parts"
        img = img.contiguous(memory_format=torch.channels_last)
        x = None
        for resolution in self.block_resolutions:
            x, img = getattr(self, f"b{resolution}")(x, img)
        cmap = self.mapping(None, c) if self.c_dim > 0 else None
        return self.b4(x, img, cmap, parts)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training changes, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def _freeze(self, count: int) -> None:
        """Freeze-D (Mo et al. 2020): the first `count` layers, counted from the image, keep their weights."""
        names = ("fromrgb", "conv0", "conv1", "skip")
        blocks = [self.get_submodule(f"b{resolution}") for resolution in self.block_resolutions]
        layers = [layer for block in blocks for name in names if (layer := getattr(block, name)) is not None]
        require(count <= len(layers), "discriminator.freeze_layers", count, f"at most {len(layers)}")
        for layer in layers[:count]:
            layer.requires_grad_(False)
