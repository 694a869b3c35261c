"""Synthesis blocks with a DegradBlock: their features are conv1(f) + DB(f, q) (paper, section 3.2)."""

import abc
from typing import NamedTuple

import torch
from torch import Tensor

from networks.config import GeneratorConfig, QualityConfig
from networks.generators.degrad_block import (
    AdainDegradBlock,
    PaperDegradBlock,
    PlacedDegradBlock,
    Projection,
    combine_components,
    strengthened,
    typical_codes,
)
from networks.generators.inserts import NOTHING, Inserts
from networks.generators.stylegan2 import BlockShape, SynthesisBlock
from networks.layers import repeat_rows, split


class Entered(NamedTuple):
    """A block's input behind conv0. The first three are of N or 2 N images, the others of N.

    Attributes:
        f: what conv1 reads, `[N or 2 N, C, R, R]`.
        shortcut: what goes past it, of the same shape; None: nothing.
        img: the image before this block, `[N or 2 N, img_channels, R/2, R/2]`; None: there is none yet.
        ws: `[N, num_conv + 1, w_dim]`.
        noise: that of each convolution and of the DegradBlock.
        ring: what surrounds `f` where conv1 reads it, `[N, C, P]`; None: zeros.
    """

    f: Tensor
    shortcut: Tensor | None
    img: Tensor | None
    ws: Tensor
    noise: list[Tensor | None]
    ring: Tensor | None


class QualityBlock(SynthesisBlock, abc.ABC):
    """A synthesis block with a DegradBlock, or just a synthesis block where there is no q."""

    degrades = True

    def forward(
        self,
        x: Tensor | None,
        img: Tensor | None,
        ws: Tensor,
        noise: list[Tensor | None],
        inserts: Inserts = NOTHING,
        q: Tensor | None = None,
        both: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `SynthesisBlock.forward`, seen through `q [N, D_q]`.

        With `both`, the result has 2 N rows: the sharp images, then the degraded ones. What enters may still have N
        rows, which both share; then everything up to conv1 is computed once. A ring surrounds what conv1 reads, but not
        what the DegradBlock reads, so that DB(f, q) stays linear in q.
        """
        if q is None:
            return super().forward(x, img, ws, noise, inserts)
        assert inserts.f is None and inserts.x is None, "features are inserted before the DegradBlocks"
        f, shortcut = self._enter_rows(x, ws, noise, inserts)
        return self.degraded(Entered(f, shortcut, img, ws, noise, inserts.ring1), q, both)

    @abc.abstractmethod
    def degraded(self, entered: Entered, q: Tensor, both: bool) -> tuple[Tensor, Tensor | None]:
        """Return what `forward` does, from what has passed conv0."""

    def _enter_rows(
        self, x: Tensor | None, ws: Tensor, noise: list[Tensor | None], inserts: Inserts
    ) -> tuple[Tensor, Tensor | None]:
        """As `enter`, of N or 2 N rows of features; of all else there are N rows."""
        rows = ws.shape[0] if x is None else x.shape[0]  # N, or 2 N behind another such block
        layer_noise = [repeat(layer, rows) for layer in noise[: self.num_conv]]
        return self.enter(x, repeat_rows(ws, rows), layer_noise, Inserts(ring0=repeat(inserts.ring0, rows)))

    def typical_codes(self, q: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the codes that the DegradBlock gets, and the factor of its residual; None: 1."""
        return (q, None) if self.conv_clamp is None else typical_codes(q)

    def strengthened(self, residual: Tensor, factor: Tensor | None) -> Tensor:
        """Return what the DegradBlock gives for the codes themselves."""
        if factor is None:
            return residual
        assert self.conv_clamp is not None, "codes keep their length without a clamp"
        return strengthened(residual, factor, self.conv_clamp)

    def content(self, f: Tensor, w: Tensor, noise: list[Tensor | None], ring: Tensor | None) -> Tensor:
        """Return conv1(f) for all rows of `f`, `[N or 2 N, C, R, R]`; of all else there are N rows."""
        rows = f.shape[0]
        layer_noise = repeat(noise[self.num_conv - 1], rows)
        return self.conv1(f, repeat_rows(w, rows), layer_noise, gain=self.residual_gain, ring=repeat(ring, rows))

    def own_noise(self, noise: list[Tensor | None]) -> Tensor | None:
        """Return the DegradBlock's part of the block's noise, `[N or 1, maps, R, R]`."""
        return noise[self.num_conv] if len(noise) > self.num_conv else None


class FeatureQualityBlock(QualityBlock):
    """A block whose features are conv1(f) + DB(f, q), and whose image follows from them."""

    def degraded(self, entered: Entered, q: Tensor, both: bool) -> tuple[Tensor, Tensor | None]:
        f, shortcut, img, ws, noise, ring = entered
        w = ws[:, self.num_conv - 1]  # [N, w_dim]
        typical, factor = self.typical_codes(q)
        contents, residual = self.contents_and_residual(f, w, noise, typical, ring)
        degraded = contents[-1] + self.strengthened(residual, factor)  # [N, C, R, R]
        img = self.enlarged(img)
        if not both:
            return self.leave(degraded, shortcut, img, ws)
        y = torch.cat([contents[0], degraded])  # [2 N, C, R, R], sharp rows first
        return self.leave(y, repeat(shortcut, len(y)), repeat(img, len(y)), repeat_rows(ws, len(y)))

    @abc.abstractmethod
    def contents_and_residual(
        self, f: Tensor, w: Tensor, noise: list[Tensor | None], q: Tensor, ring: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Return conv1(f) for each `len(q)` rows of `f`, and the residual DB(f, q) of the last of them.

        `ring [N, C, P]` surrounds what conv1 reads; None: zeros.
        """


class OwnConvolutionBlock(FeatureQualityBlock):
    """The paper's block and that of ablation F: the DegradBlock has layers of its own beside conv1."""

    def __init__(self, config: GeneratorConfig, shape: BlockShape, quality: QualityConfig):
        super().__init__(config, shape)
        width = shape.out_channels
        self.degrade: PaperDegradBlock | AdainDegradBlock
        if quality.variant == "paper+":
            self.degrade = PlacedDegradBlock(quality, width, width, shape.resolution, shape.img_resolution)
        else:
            self.degrade = (AdainDegradBlock if quality.variant == "adain" else PaperDegradBlock)(quality, width, width)

    def noise_consts(self) -> list[Tensor]:
        return [*super().noise_consts(), *self.degrade.noise_consts()]

    def contents_and_residual(
        self, f: Tensor, w: Tensor, noise: list[Tensor | None], q: Tensor, ring: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        y = self.content(f, w, noise, ring)
        return split(y, q.shape[0], 0), self.degrade(split(f, q.shape[0], 0)[-1], q, self.own_noise(noise))


class ReleasedQualityBlock(FeatureQualityBlock):
    """The released model's block: conv1 itself has the channels that the residual is made from."""

    def __init__(self, config: GeneratorConfig, shape: BlockShape, quality: QualityConfig):
        extra_channels = quality.q_dim * quality.width
        super().__init__(config, shape, extra_channels)
        self.extra_channels = extra_channels
        width = shape.out_channels
        self.convq = Projection(quality.width, width, width, quality.depth, kernel_size=1)

    def contents_and_residual(
        self, f: Tensor, w: Tensor, noise: list[Tensor | None], q: Tensor, ring: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        *sharp, f = split(f, q.shape[0], 0)  # the last N rows are to be degraded
        layer_noise = noise[self.num_conv - 1]
        outputs = self.conv1(
            f, w, layer_noise, gain=self.residual_gain, extra=True, ring=ring
        )  # [N, C + D_q * L, R, R]
        y, extra = split(outputs, [self.out_channels, self.extra_channels], 1)
        contents = [self.conv1(rows, w, layer_noise, gain=self.residual_gain, ring=ring) for rows in sharp]
        return [*contents, y], self.convq(combine_components(extra, q))


def repeat(value: Tensor | None, rows: int) -> Tensor | None:
    """Repeat 1 or N rows until there are `rows`; None stays None."""
    return None if value is None else repeat_rows(value, rows)
