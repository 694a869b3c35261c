"""Synthesis blocks with a DegradBlock: their features are conv1(f) + DB(f, q) (paper, section 3.2)."""

import abc

import torch
from torch import Tensor

from networks.config import GeneratorConfig, QualityConfig
from networks.generators.degrad_block import (
    AdainDegradBlock,
    AnyBatchDegradBlock,
    PaperDegradBlock,
    PlacedDegradBlock,
    Projection,
    combine_components,
    strengthened,
    unit_codes,
)
from networks.generators.inserts import NOTHING, Inserts
from networks.generators.stylegan2 import BlockShape, SynthesisBlock
from networks.layers import repeat_rows, split


class QualityBlock(SynthesisBlock, abc.ABC):
    """A synthesis block whose features are conv1(f) + DB(f, q), or just conv1(f) where there is no q."""

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
        rows = ws.shape[0] if x is None else x.shape[0]  # N, or 2 N behind another such block
        layer_noise = [_repeat(layer, rows) for layer in noise[: self.num_conv]]
        entering = Inserts(ring0=_repeat(inserts.ring0, rows))
        f, shortcut = self.enter(x, repeat_rows(ws, rows), layer_noise, entering)  # [N or 2 N, C, R, R]
        w = ws[:, self.num_conv - 1]  # [N, w_dim]
        if self.conv_clamp is None:
            contents, residual = self.contents_and_residual(f, w, noise, q, inserts.ring1)
        else:
            unit, strength = unit_codes(q)
            contents, residual = self.contents_and_residual(f, w, noise, unit, inserts.ring1)
            residual = strengthened(residual, strength, self.conv_clamp)
        degraded = contents[-1] + residual  # [N, C, R, R]
        if not both:
            return self.leave(degraded, shortcut, img, ws)
        y = torch.cat([contents[0], degraded])  # [2 N, C, R, R], sharp rows first
        return self.leave(y, _repeat(shortcut, len(y)), _repeat(img, len(y)), repeat_rows(ws, len(y)))

    @abc.abstractmethod
    def contents_and_residual(
        self, f: Tensor, w: Tensor, noise: list[Tensor | None], q: Tensor, ring: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Return conv1(f) for each `len(q)` rows of `f`, and the residual DB(f, q) of the last of them.

        `ring [N, C, P]` surrounds what conv1 reads; None: zeros.
        """


class OwnConvolutionBlock(QualityBlock):
    """The paper's block and that of ablation F: the DegradBlock has layers of its own beside conv1."""

    def __init__(self, config: GeneratorConfig, shape: BlockShape, quality: QualityConfig):
        super().__init__(config, shape)
        width = shape.out_channels
        self.degrade: PaperDegradBlock | AdainDegradBlock | AnyBatchDegradBlock
        if quality.variant == "paper+":
            self.degrade = PlacedDegradBlock(quality, width, width, shape.resolution, shape.img_resolution)
        else:
            self.degrade = (AdainDegradBlock if quality.variant == "adain" else PaperDegradBlock)(quality, width, width)

    def noise_consts(self) -> list[Tensor]:
        return [*super().noise_consts(), *self.degrade.noise_consts()]

    def contents_and_residual(
        self, f: Tensor, w: Tensor, noise: list[Tensor | None], q: Tensor, ring: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        rows = f.shape[0]
        layer_noise = _repeat(noise[self.num_conv - 1], rows)
        own_noise = noise[self.num_conv] if len(noise) > self.num_conv else None  # [N or 1, maps, R, R]
        # [N or 2 N, C, R, R]
        y = self.conv1(f, repeat_rows(w, rows), layer_noise, gain=self.residual_gain, ring=_repeat(ring, rows))
        return split(y, q.shape[0], 0), self.degrade(split(f, q.shape[0], 0)[-1], q, own_noise)


class ReleasedQualityBlock(QualityBlock):
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


def _repeat(value: Tensor | None, rows: int) -> Tensor | None:
    """Repeat 1 or N rows until there are `rows`; None stays None."""
    return None if value is None else repeat_rows(value, rows)
