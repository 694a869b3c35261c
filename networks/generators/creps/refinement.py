"""The blocks at each pixel that end synthesis: two layers, and what they add to the image; perhaps a DegradBlock."""

import torch
from torch import Tensor, nn

from networks.config import QualityConfig
from networks.generators.creps.layers import PlaceLayer, ToOutput
from networks.generators.degrad_block import (
    AdainDegradBlock,
    PaperDegradBlock,
    strengthened,
    typical_codes,
)
from networks.layers import repeat_rows


class RefinementBlock(nn.Module):
    """Block0 and block1 (supplement, Table 1); all layers are driven by the last `w`.

    Args:
        in_channels: channels of the features that enter.
        out_channels: channels of the features that leave.
        img_channels: channels of the image.
        w_dim: width of the latent.
        clamp: bound of the activations.
        dtype: number type in which the block computes.
    """

    def __init__(
        self, in_channels: int, out_channels: int, img_channels: int, w_dim: int, clamp: float, dtype: torch.dtype
    ):
        super().__init__()
        self.out_channels = out_channels
        self.dtype = dtype
        self.clamp = clamp
        self.fc0 = PlaceLayer(in_channels, out_channels, w_dim, clamp)
        self.fc1 = PlaceLayer(out_channels, out_channels, w_dim, clamp)
        self.tores = ToOutput(out_channels, img_channels, w_dim, clamp)

    def forward(
        self, x: Tensor, img: Tensor, w: Tensor, q: Tensor | None = None, both: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Map features `[N, C_in, H, W]` and the image so far to those behind the block; `q` has no effect."""
        w = repeat_rows(w, x.shape[0])
        y = self.fc1(self.fc0(x.to(self.dtype), w), w)  # [N, C_out, H, W]
        return y, img + self.tores(y, w)


class QualityRefinement(RefinementBlock):
    """A refinement block whose features are fc1(f) + DB(f, q) (QC-StyleGAN, section 3.2).

    The DegradBlock sees neighbours, so what it does is a matter of pixels; the sharp image stays one of places.
    """

    degrade: PaperDegradBlock | AdainDegradBlock

    def add_degrad_block(self, quality: QualityConfig) -> None:
        """Add the DegradBlock, after all other layers, whose weights do not depend on it."""
        block = AdainDegradBlock if quality.variant == "adain" else PaperDegradBlock
        self.degrade = block(quality, self.out_channels, self.out_channels)

    def forward(
        self, x: Tensor, img: Tensor, w: Tensor, q: Tensor | None = None, both: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As `RefinementBlock.forward`, seen through `q [N, D_q]`; None skips the DegradBlock.

        With `both`, the result has 2 N rows: the sharp images, then the degraded ones; what enters may have N or 2 N.
        """
        if q is None:
            return super().forward(x, img, w)
        w_of_x = repeat_rows(w, x.shape[0])
        f = self.fc0(x.to(self.dtype), w_of_x)  # [N or 2 N, C_out, H, W]
        y = self.fc1(f, w_of_x)
        typical, factor = typical_codes(q)
        degraded = y[-q.shape[0] :] + strengthened(self.degrade(f[-q.shape[0] :], typical), factor, self.clamp)
        y = torch.cat([y[: q.shape[0]], degraded]) if both else degraded
        return y, repeat_rows(img, y.shape[0]) + self.tores(y, repeat_rows(w, y.shape[0]))
