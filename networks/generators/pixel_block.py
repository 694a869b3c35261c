"""The variant `pixels`: a DegradBlock that sees the block's image, and changes the image as well as the features.

Degradations are done to pixels. From features alone a block has to guess the image that it degrades, most of which came
from the blocks before.
"""

import math

import torch
from torch import Tensor, nn

from networks.config import GeneratorConfig, QualityConfig
from networks.generators.cells import CellRounding
from networks.generators.degrad_block import NOISE_MAPS, PlacedDegradBlock
from networks.generators.quality_block import Entered, QualityBlock, repeat
from networks.generators.stylegan2 import BlockShape
from networks.layers import Convolution, repeat_rows, split


class PixelDegradBlock(PlacedDegradBlock):
    """The block `paper+`, whose c reads the image instead of the place, and which has a residual of the image too.

    `cells` changes the image as compression does. What reads or writes the image begins at zero, so that the weights of
    a `paper+` block stay valid. Its learned patterns of the place do not: they are drawn in place of noise.

    Args:
        config: sizes.
        channels: channels of f.
        resolution: side of f and of the block's image.
        img_channels: channels of the image.
        img_resolution: side of the final image, whose pixels the grid's period counts.
    """

    has_place = False

    def __init__(self, config: QualityConfig, channels: int, resolution: int, img_channels: int, img_resolution: int):
        super().__init__(config, channels, channels, resolution, img_resolution)
        self.pixel_weight = nn.Parameter(torch.zeros(config.q_dim * config.width, img_channels, 3, 3))
        self.pixel_gain = 1 / math.sqrt(img_channels * 9 * config.q_dim)
        self.to_image = Convolution(config.width, img_channels, 3, bias=False)
        nn.init.zeros_(self.to_image.weight)
        self.cells = CellRounding(config.q_dim, img_channels, self.period)

    def combined_weights(self, q: Tensor) -> Tensor:
        features, noise = super().combined_weights(q).split([self.weight.shape[1] - NOISE_MAPS, NOISE_MAPS], dim=2)
        pixels = (q * self.pixel_gain) @ self.pixel_weight.view(self.q_dim, -1)  # [N, L * img_channels * 9]
        return torch.cat([features, pixels.view(-1, self.channels, *self.pixel_weight.shape[1:]), noise], dim=2)

    def residuals(self, f: Tensor, image: Tensor, q: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the residuals of f `[N, C, R, R]` and of the image `[N, img_channels, R, R]`, that in float32."""
        hidden = self.convq.hidden(self.combine(self.inputs(f, noise, image), q))
        of_features, of_image = self.convq.last(hidden), self.to_image(hidden).float() + self.cells(image, q)
        return of_features if noise is None else self.add_noise(of_features, q, noise), of_image


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
        unit, strength = self.unit_codes(q)
        residuals = self.degrade.residuals(_last(f, q), seen, unit, self.own_noise(noise))
        of_features, of_image = (self.strengthened(residual, strength) for residual in residuals)
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
