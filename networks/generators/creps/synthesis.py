"""CREPS: from `ws` to lines of features, from lines to a map, from the map to the image. Any coordinates will do.

Parameter names are those of published networks. The blocks are b4 to bR, which make lines; the composition, which makes
a map of them; and two of refinement, which work at each pixel.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from networks.config import CrepsConfig, GeneratorConfig
from networks.generators import interface
from networks.generators.blocks import BlockSynthesis
from networks.generators.coordinates import Coordinates, line
from networks.generators.creps.decoders import Decoder, PixelLayer, fuse
from networks.generators.creps.layers import PlaceLayer
from networks.generators.creps.lines import FourierLines, InputBlock, LineBlock
from networks.generators.creps.refinement import QualityRefinement, RefinementBlock
from networks.generators.degrad_block import for_any_batch
from networks.generators.interface import Content, Noise, Rng
from networks.latents import Latents, Padding
from networks.layers import FullyConnected
from networks.resolutions import block_dtype, channels_at, resolutions

CLAMP = 256.0  # bound of activations unless `precision.conv_clamp` has another
REFINEMENT_BLOCKS = 2
# Pixels times channels of a strip of an image: a CPU's caches hold what its layers pass on, and a GPU has work for all
# of its cores.
STRIP_VALUES_ON_CPU = 2**19
STRIP_VALUES = 2**22
STRIP_PLACES = 4096  # most places of lines that are made at once


class CrepsSynthesis(BlockSynthesis, interface.ScaleFreeSynthesis):
    """G: `ws` to images, at the trained grid or at other coordinates."""

    b4: InputBlock
    decoder_last: Decoder
    decoder_img: PixelLayer

    def __init__(self, config: GeneratorConfig, img_resolution: int, img_channels: int):
        super().__init__()
        creps = creps_of(config)
        self.w_dim = config.w_dim
        self.lines_channels = creps.channels
        self.img_resolution = img_resolution
        self.composition = creps.composition
        self.pixel_centred = creps.pixel_centred
        self.sides = resolutions(creps.last_block or img_resolution)
        self.num_ws = 2 * len(self.sides) + 1
        self.compose_at = len(self.sides)
        self.num_blocks = self.compose_at + 1 + REFINEMENT_BLOCKS
        self.trunk_blocks = 0 if config.quality is None else self.num_blocks - config.quality.blocks
        # The order in which layers are made is that of the random numbers of their weights.
        self._add_line_blocks(config, creps)
        self._add_decoders(creps, img_channels)
        self._add_refinement(config, creps, img_channels)

    def forward(
        self,
        ws: Tensor,
        q: Tensor | None = None,
        noise_mode: str = "none",
        rng: Rng | None = None,
        noise: Noise | None = None,
        coords: Coordinates | None = None,
    ) -> Tensor:
        """Map `ws [N, num_ws, w_dim]` and `q [N, D_q]` to images `[N, img_channels, H, W]` at `coords`.

        Without coordinates the images are those of the trained grid. There is no noise, and the mode has no effect.
        """
        content = self.content(Latents(ws), self.make_noise(noise_mode, ws.shape[0], rng), coords=coords)
        return self.image(content, q if q is not None and q.any() else None)

    @torch.no_grad()
    def strips(self, ws: Tensor, coords: Coordinates, pixels: int | None = None) -> Iterator[Tensor]:
        # Beside the strip there are the lines of a grid.
        values = STRIP_VALUES_ON_CPU if ws.device.type == "cpu" else STRIP_VALUES
        pixels = (values // self.lines_channels if pixels is None else pixels) // ws.shape[0]
        if coords.width is not None:
            for rows in coords.strips(pixels):
                yield self(ws, coords=coords.strip(rows))
            return
        height = coords.size[0]
        lines = self._lines(ws, coords)
        for rows in coords.strips(pixels):
            own = tuple(torch.cat([both[:, :, rows], both[:, :, height:]], dim=2) for both in lines)
            start = Content(None, None, ws, [], self.compose_at, lines=own, coords=coords.strip(rows))
            yield self.image(start)

    def native(self) -> Coordinates:
        """Return the coordinates of the trained image."""
        return self.b4.input.native()

    def line(self, count: int, start: float = 0.0, end: float = 1.0) -> Tensor:
        return line(count, start, end, self.pixel_centred, self.b4.input.coords.device)

    def make_noise(self, noise_mode: str, batch: int, rng: Rng | None = None) -> Noise:
        assert noise_mode in ("random", "const", "none"), f"unknown noise mode {noise_mode}"
        return [[] for _ in range(self.num_blocks)]

    def content(
        self, latents: Latents, noise: Noise, blocks: int | None = None, coords: Coordinates | None = None
    ) -> Content:
        assert latents.padding is None or not latents.padding.tensors(), "this network has no paddings"
        assert latents.features is None, "this network has no features at 16x16 or any other fixed size"
        start = Content(None, None, latents.ws, noise, 0, coords=self.native() if coords is None else coords)
        return self.run(start, self.trunk_blocks if blocks is None else blocks)[0]

    def layer_output(self, latents: Latents, noise: Noise, layer: int) -> Tensor:
        raise AssertionError("this network has no features at 16x16 or any other fixed size")

    def code_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"ws": (self.num_ws, self.w_dim)}

    def own_padding(self) -> Padding:
        return Padding()

    def run(
        self, content: Content, stop: int, q: Tensor | None = None, both: bool = False
    ) -> tuple[Content, list[Tensor]]:
        features = []
        for index in range(content.block, stop):
            content = self._run_block(index, content, q, both)._replace(block=index + 1)
            assert content.x is not None, "every block leaves features"
            features.append(content.x)
        return content, features

    def block_names(self, index: int) -> list[str]:
        if index < self.compose_at:
            return [f"b{self.sides[index]}"]
        if index > self.compose_at:
            return [f"block{index - self.compose_at - 1}"]
        return [name for name, _ in self.named_children() if name.startswith("decoder_")]

    def describe(self) -> list[interface.BlockFacts]:
        facts = []
        for index in range(self.num_blocks):
            modules = [self.get_submodule(name) for name in self.block_names(index)]
            layers = [part for module in modules for part in module.modules() if isinstance(part, FACTS_LAYERS)]
            name = "composition" if index == self.compose_at else self.block_names(index)[0]
            is_line = index < self.compose_at
            facts.append(
                interface.BlockFacts(
                    name,
                    resolution=self.sides[index] if is_line else self.img_resolution,
                    channels=getattr(modules[0], "out_channels", self.lines_channels),
                    layers=len(layers),
                    parameters=sum(parameter.numel() for module in modules for parameter in module.parameters()),
                    dtype=getattr(modules[0], "dtype", torch.float32),
                    degrades=isinstance(modules[0], QualityRefinement),
                )
            )
        return facts

    def style_layers(self) -> Iterator[tuple[int, Tensor]]:
        for index in range(self.num_blocks):
            drivers = self.block_ws(torch.arange(self.num_ws)[None, :, None], index).flatten().tolist()
            modules = [module for name in self.block_names(index) for module in self.get_submodule(name).modules()]
            affines = [module for module in modules if isinstance(module, FullyConnected)]
            for number, affine in enumerate(affines):
                yield drivers[min(number, len(drivers) - 1)], affine.weight * affine.weight_gain

    def block_ws(self, ws: Tensor, index: int) -> Tensor:
        """Return the part of `ws [N, num_ws, w_dim]` for block `index`; the last of a block's is also the next's."""
        if index > self.compose_at:
            return ws[:, -1:]
        return ws[:, :2] if index == 0 else ws[:, 2 * index - 1 : 2 * index + 2]

    def traceable(self) -> "CrepsSynthesis":
        synthesis = copy.deepcopy(self)
        for_any_batch(synthesis)
        return synthesis

    def _run_block(self, index: int, content: Content, q: Tensor | None, both: bool) -> Content:
        ws, coords = self.block_ws(content.ws, index), content.coords
        assert coords is not None, "content begins with coordinates"
        if index == self.compose_at:
            x, img = self._compose(content.lines, coords)
            return content._replace(x=x, img=img, lines=())
        block = self.get_submodule(self.block_names(index)[0])
        if index == 0:
            return content._replace(x=block(coords, ws))
        if index < self.compose_at:
            x, lines = block(content.x, content.lines[-1] if content.lines else None, ws)
            kept = () if self.composition == "none" else content.lines
            return content._replace(x=x, lines=(*kept, lines))
        x, img = block(content.x, content.img, ws[:, 0], q, both)
        return content._replace(x=x, img=img)

    def _compose(self, all_lines: tuple[Tensor, ...], coords: Coordinates) -> tuple[Tensor, Tensor]:
        """Return the map E `[N, B, H, W]` of the lines behind each block from b8 on, and the image in it."""
        total = fuse(all_lines[0], coords)
        for side, lines in zip(self.sides[2:], all_lines[1:], strict=self.composition != "none"):
            if self.composition == "decoders":
                decoder = self.get_submodule(f"decoder_{side}")
                total = decoder(total)
            total = total + fuse(lines, coords)
        if self.composition == "decoders":
            total = self.decoder_last(total)
        return total, self.decoder_img(total)

    def _lines(self, ws: Tensor, coords: Coordinates) -> tuple[Tensor, ...]:
        """Return the lines of a grid that are to be fused, `[N, B, H + W, D]` each, made in parts."""
        none = coords.rows[:0]
        parts = [Coordinates(rows, none) for rows in coords.rows.split(STRIP_PLACES)]
        parts += [Coordinates(none, columns) for columns in coords.columns.split(STRIP_PLACES)]
        made = [self.content(Latents(ws), [], self.compose_at, part).lines for part in parts]
        return tuple(torch.cat(lines, dim=2) for lines in zip(*made, strict=True))

    def _add_line_blocks(self, config: GeneratorConfig, creps: CrepsConfig) -> None:
        widths = [channels_at(side, config.channel_base, config.channel_max) for side in self.sides]
        clamp = _clamp(config)
        lines = FourierLines(
            widths[0],
            config.w_dim,
            creps.thickness,
            creps.bandwidth,
            line(self.img_resolution, pixel_centred=creps.pixel_centred),
        )
        self.b4 = InputBlock(lines, widths[0], config.w_dim, clamp)
        for side, entering, width in zip(self.sides[1:], widths, widths[1:], strict=False):
            dtype = block_dtype(side, self.sides[-1], config.precision)
            block = LineBlock(entering, width, creps.channels, config.w_dim, clamp, dtype)
            self.add_module(f"b{side}", block)

    def _add_decoders(self, creps: CrepsConfig, img_channels: int) -> None:
        if creps.composition == "decoders":
            for name in [*self.sides[2:], "last"]:
                self.add_module(f"decoder_{name}", Decoder(creps.channels))
        self.decoder_img = PixelLayer(creps.channels, img_channels)

    def _add_refinement(self, config: GeneratorConfig, creps: CrepsConfig, img_channels: int) -> None:
        widths = [creps.channels, 4 * creps.channels, 2 * creps.channels]
        dtype, clamp = block_dtype(self.sides[-1], self.sides[-1], config.precision), _clamp(config)
        for number in range(REFINEMENT_BLOCKS):
            has_code = config.quality is not None and number >= REFINEMENT_BLOCKS - config.quality.blocks
            make = QualityRefinement if has_code else RefinementBlock
            entering, width = widths[number : number + 2]
            self.add_module(f"block{number}", make(entering, width, img_channels, config.w_dim, clamp, dtype))
        for block in self.modules():
            if isinstance(block, QualityRefinement):
                assert config.quality is not None, "such blocks are those of a quality code"
                block.add_degrad_block(config.quality)


FACTS_LAYERS = (PlaceLayer, PixelLayer)  # what a description counts: not what makes or adds up lines and images


def creps_of(config: GeneratorConfig) -> CrepsConfig:
    """Return the part of the configuration that such a generator must have."""
    assert config.creps is not None, "a generator of kind creps needs generator.creps"
    return config.creps


def _clamp(config: GeneratorConfig) -> float:
    return CLAMP if config.precision.conv_clamp is None else config.precision.conv_clamp
