"""The variant `pixels`: a DegradBlock that sees the block's image, and changes the image as well as the features.

Degradations are done to pixels. From features alone a block has to guess the image that it degrades, most of which came
from the blocks before.
"""

import math

import torch
from torch import Tensor, nn

from networks.config import GeneratorConfig, QualityConfig
from networks.generators.cells import CellRounding
from networks.generators.code_mapping import CodeMapping
from networks.generators.degrad_block import (
    NOISE_MAPS,
    PaperDegradBlock,
    beside,
    grid_period,
    mixed_noise,
    strengthened,
    typical_codes,
)
from networks.generators.own_kernels import OwnKernels
from networks.generators.quality_block import Entered, QualityBlock, repeat
from networks.generators.stylegan2 import BlockShape
from networks.layers import Convolution, repeat_rows, split

# Noise has the strength of photos' from the beginning: near zero a discriminator hardly tells whether more were better.
GRAIN, GRAIN_GAIN = 0.1, 0.8


class PixelDegradBlock(PaperDegradBlock):
    """The paper's block, whose c also reads the image, and which has a residual of the image too.

    The image changes as cameras and files change it, one after the other: `blur` by a kernel, white noise of the
    strengths `grain`, and `cells` as compression does. All of it, and c, is linear in `mapping` of the code. What reads
    or writes the image begins at zero, but for noise, so that the weights of a block of the paper stay valid.

    Args:
        config: sizes.
        channels: channels of f.
        resolution: side of f and of the block's image.
        img_channels: channels of the image.
        img_resolution: side of the final image, whose pixels the grid's period counts.
    """

    def __init__(self, config: QualityConfig, channels: int, resolution: int, img_channels: int, img_resolution: int):
        super().__init__(config, channels, channels)
        self.mapping = CodeMapping(config.q_dim)
        self.pixel_weight = nn.Parameter(torch.zeros(config.q_dim * config.width, img_channels, 3, 3))
        self.pixel_gain = 1 / math.sqrt(img_channels * 9 * config.q_dim)
        self.to_image = Convolution(config.width, img_channels, 3, bias=False)
        nn.init.zeros_(self.to_image.weight)
        self.blur = OwnKernels(config.q_dim, resolution)
        own_map = torch.eye(NOISE_MAPS, img_channels)  # of each channel, at a strength that all share
        self.grain = nn.Parameter(GRAIN * torch.randn(config.q_dim, 1, 1) * own_map)
        self.grain_gain = GRAIN_GAIN / math.sqrt(config.q_dim)
        self.noise_const: Tensor
        self.register_buffer("noise_const", torch.randn(NOISE_MAPS, resolution, resolution))
        self.cells = CellRounding(config.q_dim, img_channels, grid_period(resolution, img_resolution))

    def noise_consts(self) -> list[Tensor]:
        return [self.noise_const]

    def combined_weights(self, q: Tensor) -> Tensor:
        pixels = (q * self.pixel_gain) @ self.pixel_weight.view(self.q_dim, -1)  # [N, L * img_channels * 9]
        of_pixels = pixels.view(-1, self.channels, *self.pixel_weight.shape[1:])
        return torch.cat([super().combined_weights(q), of_pixels], dim=2)

    def residuals(self, f: Tensor, image: Tensor, q: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the residuals of f `[N, C, R, R]` and of the image `[N, img_channels, R, R]`, that in float32.

        Args:
            f: `[N, C, R, R]`.
            image: `[N, img_channels, R, R]`.
            q: codes of the length sqrt(D_q), `[N, D_q]`.
            noise: `[N or 1, maps, R, R]`; None: none.
        """
        code = self.mapping(q)
        hidden = self.convq.hidden(self.combine(beside(f, image.to(f.dtype)), code))
        changed = image + self.to_image(hidden).float() + self.blur(image, code)
        if noise is not None:
            changed = changed + mixed_noise(noise, (code * self.grain_gain) @ self.grain.flatten(1))
        return self.convq.last(hidden), changed + self.cells(changed, code) - image


class PixelQualityBlock(QualityBlock):
    """A synthesis block, with an image layer, whose DegradBlock sees and changes the image.

    What it sees is the image as the block would leave it without DegradBlock, behind the degraded one that enters.
    """

    def __init__(self, config: GeneratorConfig, shape: BlockShape, quality: QualityConfig):
        super().__init__(config, shape)
        assert self.torgb is not None, "a block without an image layer has no image to see"
        sides = shape.resolution, shape.img_channels, shape.img_resolution
        self.degrade = PixelDegradBlock(quality, shape.out_channels, *sides)

    def noise_consts(self) -> list[Tensor]:
        return [*super().noise_consts(), *self.degrade.noise_consts()]

    def degraded(self, entered: Entered, q: Tensor, both: bool) -> tuple[Tensor, Tensor | None]:
        f, shortcut, img, ws, noise, ring = entered
        y = self.content(f, ws[:, self.num_conv - 1], noise, ring)
        img = self.enlarged(img)
        features, images = self._leave(y, shortcut, repeat(img, y.shape[0]), repeat_rows(ws, y.shape[0]))
        seen = _last(images, q)  # [N, img_channels, R, R]
        typical, factor = typical_codes(q)
        residuals = self.degrade.residuals(_last(f, q), seen, typical, self.own_noise(noise))
        of_features, of_image = (strengthened(residual, factor, self.conv_clamp) for residual in residuals)
        entering = None if img is None else _last(img, q)
        degraded, degraded_image = self._leave(_last(features, q) + of_features, None, entering, ws)
        degraded_image = degraded_image + of_image
        if not both:
            return degraded, degraded_image
        sharp, sharp_image = (split(rows, q.shape[0], 0)[0] for rows in (features, images))
        return torch.cat([sharp, degraded]), torch.cat([sharp_image, degraded_image])

    def _leave(self, y: Tensor, shortcut: Tensor | None, img: Tensor | None, ws: Tensor) -> tuple[Tensor, Tensor]:
        features, image = self.leave(y, shortcut, img, ws)
        assert image is not None, "a block with an image layer has an image"
        return features, image


def _last(rows: Tensor, q: Tensor) -> Tensor:
    """Return the rows that are to be degraded, as many as there are codes."""
    return split(rows, q.shape[0], 0)[-1]
