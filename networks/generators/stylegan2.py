"""StyleGAN2's generator: modulated convolutions driven by `w`. Parameter names are those of published checkpoints."""

import copy
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from networks.config import GeneratorConfig
from networks.generators import interface
from networks.generators.blocks import BlockSynthesis
from networks.generators.inserts import NOTHING, Inserts, entering, inserts_of, last_replaceable
from networks.generators.interface import Content, Noise, Rng
from networks.latents import Latents, Padding
from networks.layers import RESAMPLE_TAPS, Convolution, SynthesisLayer, ToRGB
from networks.resolutions import block_dtype, channels_at, resolutions
from torch_utils.ops.upfirdn2d import setup_filter, upsample2d


@dataclass(frozen=True)
class BlockShape:
    """The sizes of a synthesis block.

    Attributes:
        in_channels: channels of the features that enter; 0: none, the block starts from a learned constant.
        out_channels: channels of the features that leave.
        w_dim: width of the latent.
        resolution: side of the output.
        img_channels: channels of the image.
        img_resolution: side of the image.
        dtype: number type in which the block computes.
    """

    in_channels: int
    out_channels: int
    w_dim: int
    resolution: int
    img_channels: int
    img_resolution: int
    dtype: torch.dtype

    @property
    def is_last(self) -> bool:
        """Whether this is the highest resolution, which gives the image in every architecture."""
        return self.resolution == self.img_resolution


class SynthesisBlock(nn.Module):
    """All layers of one resolution.

    Args:
        config: architecture and precision.
        shape: the block's sizes.
        extra_channels: outputs of conv1 beyond those that go on as features (`released` DegradBlock).
    """

    degrades = False  # whether the block has a DegradBlock

    def __init__(self, config: GeneratorConfig, shape: BlockShape, extra_channels: int = 0):
        super().__init__()
        width = shape.out_channels
        self.in_channels = shape.in_channels
        self.out_channels = width
        self.resolution = shape.resolution
        self.dtype = shape.dtype
        self.conv_clamp = config.precision.clamp
        self.num_conv = 1 if shape.in_channels == 0 else 2
        self.resample_filter: Tensor
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.const: nn.Parameter | None = None
        self.conv0: SynthesisLayer | None = None
        self.torgb: ToRGB | None = None
        self.skip: Convolution | None = None
        # The order in which layers are made is that of the random numbers of their weights.
        if shape.in_channels == 0:
            self.const = nn.Parameter(torch.randn(width, shape.resolution, shape.resolution))
        else:
            self.conv0 = SynthesisLayer(
                shape.in_channels, width, shape.w_dim, shape.resolution, up=2, conv_clamp=self.conv_clamp
            )
        self.conv1 = SynthesisLayer(
            width, width, shape.w_dim, shape.resolution, conv_clamp=self.conv_clamp, extra_channels=extra_channels
        )
        if shape.is_last or config.architecture == "skip":
            self.torgb = ToRGB(width, shape.img_channels, shape.w_dim, self.conv_clamp)
        if shape.in_channels != 0 and config.architecture == "resnet":
            self.skip = Convolution(shape.in_channels, width, 1, bias=False, up=2)

    def forward(
        self,
        x: Tensor | None,
        img: Tensor | None,
        ws: Tensor,
        noise: list[Tensor | None],
        inserts: Inserts = NOTHING,
    ) -> tuple[Tensor, Tensor | None]:
        """Map features `[N, C_in, R/2, R/2]` and an image `[N, 3, R/2, R/2]` to those of resolution R.

        `ws` is `[N, num_conv + 1, w_dim]`: one for each convolution and one for the image.
        """
        f, shortcut = self.enter(x, ws, noise, inserts)  # [N, C_out, R, R]
        last = self.num_conv - 1
        y = self.conv1(f, ws[:, last], noise[last], self.residual_gain, ring=inserts.ring1)  # [N, C_out, R, R]
        return self.leave(y, shortcut, self.enlarged(img), ws, inserts.x)

    @property
    def residual_gain(self) -> float:
        """Factor of both branches of a residual block, which keeps the variance of their sum."""
        return 1.0 if self.skip is None else math.sqrt(0.5)

    def enter(
        self, x: Tensor | None, ws: Tensor, noise: list[Tensor | None], inserts: Inserts = NOTHING
    ) -> tuple[Tensor, Tensor | None]:
        """Return the input `f` of conv1, and the shortcut past it (None but for `resnet`)."""
        if self.conv0 is None:
            const = self.const if inserts.const is None else inserts.const
            assert const is not None, "a block without conv0 starts from a constant"
            x = const.to(self.dtype).expand(ws.shape[0], -1, -1, -1)
            return x.contiguous(memory_format=torch.channels_last), None
        assert x is not None, f"no features enter the block of resolution {self.resolution}"
        x = x.to(self.dtype)
        shortcut = None if self.skip is None else self.skip(x, gain=self.residual_gain)
        if inserts.f is not None:
            return self.own(inserts.f), shortcut
        return self.conv0(x, ws[:, 0], noise[0], ring=inserts.ring0), shortcut

    def own(self, features: Tensor) -> Tensor:
        """Return features in the number type and order of memory of this block's own."""
        return features.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def enlarged(self, img: Tensor | None) -> Tensor | None:
        """Return the image before this block, `[N, img_channels, R/2, R/2]`, at its resolution; None stays None."""
        return None if img is None else upsample2d(img, self.resample_filter)

    def leave(
        self, y: Tensor, shortcut: Tensor | None, img: Tensor | None, ws: Tensor, instead: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the block's features, or those given `instead`, and the image so far, from the output `y` of conv1.

        `img [N, img_channels, R, R]` is the image before this block, enlarged.
        """
        x = y if shortcut is None else y + shortcut
        x = x if instead is None else self.own(instead)
        if self.torgb is not None:
            rgb = self.torgb(x, ws[:, self.num_conv]).float()  # [N, img_channels, R, R]
            img = rgb if img is None else img + rgb
        return x, img

    def layers(self) -> list[SynthesisLayer]:
        """Return the convolutions that have noise, in their order."""
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    def noise_consts(self) -> list[Tensor]:
        """Return the stored noise `[maps, R, R]` of all that has noise, in the order in which `forward` takes it."""
        return [layer.noise_const[None] for layer in self.layers()]


class SynthesisNetwork(BlockSynthesis):
    """G_0: `ws` to images."""

    def __init__(self, config: GeneratorConfig, img_resolution: int, img_channels: int):
        super().__init__()
        self.w_dim = config.w_dim
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.num_blocks = len(resolutions(img_resolution))
        self.trunk_blocks = 0
        self.num_ws = 1  # the last image's
        in_channels = 0
        for resolution in resolutions(img_resolution):
            block = self.make_block(config, self._block_shape(config, in_channels, resolution))
            self.add_module(f"b{resolution}", block)
            in_channels = block.out_channels
            self.num_ws += block.num_conv

    def make_block(self, config: GeneratorConfig, shape: BlockShape) -> SynthesisBlock:
        """Return the block of one resolution."""
        return SynthesisBlock(config, shape)

    def block(self, index: int) -> SynthesisBlock:
        """Return block `index`; 0 is 4x4, negative ones count from the highest resolution."""
        return getattr(self, f"b{resolutions(self.img_resolution)[index]}")

    def block_names(self, index: int) -> list[str]:
        return [f"b{self.block(index).resolution}"]

    def block_ws(self, ws: Tensor, index: int) -> Tensor:
        """Return the part of `ws [N, num_ws, w_dim]` for block `index`; the image's `w` is also the next block's."""
        first = max(0, 2 * index - 1)
        return ws[:, first : first + self.block(index).num_conv + 1]

    def make_noise(self, noise_mode: str, batch: int, rng: Rng | None = None) -> Noise:
        assert noise_mode in ("random", "const", "none"), f"unknown noise mode {noise_mode}"
        blocks = [self.block(index) for index in range(self.num_blocks)]
        return [[_noise(const, noise_mode, batch, rng) for const in block.noise_consts()] for block in blocks]

    def content(self, latents: Latents, noise: Noise, blocks: int | None = None) -> Content:
        start = Content(None, None, latents.ws, noise, 0, latents.padding, latents.features)
        content, _ = self.run(start, self.trunk_blocks if blocks is None else blocks)
        return content

    def layer_output(self, latents: Latents, noise: Noise, layer: int) -> Tensor:
        index, is_conv1 = divmod(layer, 2)
        content = self.content(dataclasses.replace(latents, features=None), noise, blocks=index + is_conv1)
        if is_conv1:
            assert content.x is not None, "a block has been run"
            return content.x
        block = self.block(index)
        inserts = inserts_of(index, block.resolution, latents.padding, None)
        return block.enter(content.x, self.block_ws(content.ws, index), noise[index], inserts)[0]

    def code_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"ws": (self.num_ws, self.w_dim)}
        last = last_replaceable(self.num_blocks, self.trunk_blocks)
        for index in range(self.num_blocks):
            block = self.block(index)
            size = (block.out_channels, block.resolution, block.resolution)
            if block.const is not None:
                shapes["padding.const"] = size
            for layer, number in zip(reversed(block.layers()), (2 * index + 1, 2 * index), strict=False):
                name = f"b{block.resolution}.conv{number % 2}"
                shapes[f"padding.{name}"] = layer.ring_shape
                if number <= last:
                    shapes[f"features.{number}"] = size
        return shapes

    def own_padding(self) -> Padding:
        const = self.block(0).const
        assert const is not None, "the first block starts from a constant"
        shapes = {name: shape for name, shape in self.code_shapes().items() if name.startswith("padding.b")}
        rings = {name.removeprefix("padding."): const.new_zeros(1, *shape) for name, shape in shapes.items()}
        return Padding(const[None], rings)

    def run(
        self, content: Content, stop: int, q: Tensor | None = None, both: bool = False
    ) -> tuple[Content, list[Tensor]]:
        x, img = content.x, content.img
        features = []
        for index in range(content.block, stop):
            entered = entering(index, content.features)
            x, img = self.run_block(index, x if entered is None else entered, img, content, q, both)
            features.append(x)
        return content._replace(x=x, img=img, block=max(stop, content.block)), features

    def run_block(
        self,
        index: int,
        x: Tensor | None,
        img: Tensor | None,
        content: Content,
        q: Tensor | None = None,
        both: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Run block `index` on the features and image before it; return those behind it.

        Of `content` codes and noise count.
        """
        return self.block(index)(x, img, *self.inputs(index, content))

    def inputs(self, index: int, content: Content) -> tuple[Tensor, list[Tensor | None], Inserts]:
        """Return what block `index` gets besides features and image: its `w`, its noise, and what codes put into it."""
        inserts = inserts_of(index, self.block(index).resolution, content.padding, content.features)
        return self.block_ws(content.ws, index), content.noise[index], inserts

    def style_layers(self) -> Iterator[tuple[int, Tensor]]:
        numbers = torch.arange(self.num_ws)[None, :, None]  # [1, num_ws, 1]
        for index in range(self.num_blocks):
            block = self.block(index)
            layers: list[SynthesisLayer | ToRGB] = [*block.layers()]
            layers += [] if block.torgb is None else [block.torgb]
            drivers = self.block_ws(numbers, index).flatten().tolist()
            for driver, layer in zip(drivers, layers, strict=False):
                affine = layer.affine
                yield driver, affine.weight * affine.weight_gain

    def describe(self) -> list[interface.BlockFacts]:
        blocks = [self.block(index) for index in range(self.num_blocks)]
        return [
            interface.BlockFacts(
                f"b{block.resolution}",
                resolution=block.resolution,
                channels=block.out_channels,
                layers=block.num_conv,
                parameters=sum(parameter.numel() for parameter in block.parameters()),
                dtype=block.dtype,
                degrades=block.degrades,
            )
            for block in blocks
        ]

    def traceable(self) -> "SynthesisNetwork":
        return copy.deepcopy(self)

    def _block_shape(self, config: GeneratorConfig, in_channels: int, resolution: int) -> BlockShape:
        return BlockShape(
            in_channels,
            out_channels=channels_at(resolution, config.channel_base, config.channel_max),
            w_dim=config.w_dim,
            resolution=resolution,
            img_channels=self.img_channels,
            img_resolution=self.img_resolution,
            dtype=block_dtype(resolution, self.img_resolution, config.precision),
        )


class Generator(interface.Generator):
    """F_0: mapping and synthesis."""

    def make_synthesis(self) -> SynthesisNetwork:
        return SynthesisNetwork(self.config, self.img_resolution, self.img_channels)


def _noise(const: Tensor, noise_mode: str, batch: int, rng: Rng | None) -> Tensor | None:
    """Return noise of the shape of a stored one `[maps, R, R]`: `[N or 1, maps, R, R]`, or None."""
    if noise_mode == "none":
        return None
    if noise_mode == "const":
        return const[None]
    if rng is None:
        return torch.randn(batch, *const.shape, device=const.device)
    return rng.randn(*const.shape)
