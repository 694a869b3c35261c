"""QC-StyleGAN: StyleGAN2's generator whose last M blocks hear a quality code (paper, section 3)."""

import torch
from torch import Tensor

from dnnlib.config import require
from networks.config import GeneratorConfig
from networks.generators import stylegan2
from networks.generators.degrad_block import AdainDegradBlock, PaperDegradBlock, ReleasedDegradBlock
from networks.generators.stylegan2 import Noise, NormalSource, SynthesisBlock, SynthesisNetwork
from networks.layers import SynthesisLayer, split

MAX_STRENGTH = 6e4  # of a quality code; float16 ends at 65504


class QualityBlock(SynthesisBlock):
    """A synthesis block whose features are conv1(f) + DB(f, q), or just conv1(f) where there is no q."""

    def __init__(self, config: GeneratorConfig, *arguments):
        super().__init__(config, *arguments)
        block = {"paper": PaperDegradBlock, "adain": AdainDegradBlock}[config.quality.variant]
        self.degrade = block(config.quality, self.out_channels, self.out_channels)

    def forward(
        self,
        x: Tensor,
        img: Tensor | None,
        ws: Tensor,
        noise: list[Tensor | None],
        q: Tensor | None = None,
        both: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `SynthesisBlock.forward`, seen through `q [N, D_q]`.

        With `both`, the result has 2 N rows: the sharp images, then the degraded ones. What enters may still have N
        rows, which both share; then everything up to conv1 is computed once.
        """
        if q is None:
            return super().forward(x, img, ws, noise)
        f, shortcut = self.enter(x, _fill(ws, x.shape[0]), [_fill(layer, x.shape[0]) for layer in noise])
        w = ws[:, self.num_conv - 1]
        if self.conv_clamp is None:
            contents, residual = self.contents_and_residual(f, w, noise[-1], q)
        else:
            # By Eq. 10 the strength of q may come last, so that nothing before it overflows however strong q is.
            strength = q.norm(dim=1, keepdim=True).clamp(min=1e-8)
            contents, residual = self.contents_and_residual(f, w, noise[-1], q / strength)
            residual = residual * strength.clamp(max=MAX_STRENGTH).to(residual.dtype)[:, :, None, None]
            residual = residual.clamp(-self.conv_clamp, self.conv_clamp)
        degraded = contents[-1] + residual
        if not both:
            return self.leave(degraded, shortcut, img, ws)
        y = torch.cat([contents[0], degraded])
        return self.leave(y, _fill(shortcut, len(y)), _fill(img, len(y)), _fill(ws, len(y)))

    def contents_and_residual(
        self, f: Tensor, w: Tensor, noise: Tensor | None, q: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Return conv1(f) for each `len(q)` rows of `f`, and the residual of the last of them."""
        y = self.conv1(f, _fill(w, f.shape[0]), _fill(noise, f.shape[0]), gain=self.residual_gain)
        return split(y, q.shape[0], 0), self.degrade(split(f, q.shape[0], 0)[-1], q)


class ReleasedQualityBlock(QualityBlock):
    """The released model's: conv1 itself has the channels that the residual is made from."""

    def __init__(self, config: GeneratorConfig, *arguments):
        self.extra_channels = config.quality.q_dim * config.quality.width
        SynthesisBlock.__init__(self, config, *arguments)
        self.convq = ReleasedDegradBlock(config.quality, self.out_channels)

    def make_conv1(self) -> SynthesisLayer:
        return SynthesisLayer(
            self.out_channels,
            self.out_channels,
            self.w_dim,
            self.resolution,
            conv_clamp=self.conv_clamp,
            extra_channels=self.extra_channels,
        )

    def contents_and_residual(
        self, f: Tensor, w: Tensor, noise: Tensor | None, q: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        *sharp, f = split(f, q.shape[0], 0)
        outputs = self.conv1(f, w, noise, gain=self.residual_gain, extra=True)
        y, extra = split(outputs, [self.out_channels, self.extra_channels], 1)
        contents = [self.conv1(rows, w, noise, gain=self.residual_gain) for rows in sharp]
        return [*contents, y], self.convq(extra, q)


class QualitySynthesis(SynthesisNetwork):
    """G: `ws` and `q` to images. The blocks before the last M are the trunk, which never hears of `q`."""

    def __init__(self, config: GeneratorConfig, img_resolution: int, img_channels: int):
        super().__init__(config, img_resolution, img_channels)
        first = self.num_blocks - config.quality.blocks
        require(first >= 1, "quality.blocks", config.quality.blocks, f"below {self.num_blocks}, the synthesis blocks")
        self.head = range(first, self.num_blocks)

    def make_block(self, config: GeneratorConfig, *arguments) -> SynthesisBlock:
        resolution = arguments[-1]
        if resolution * 2**config.quality.blocks <= self.img_resolution:
            return super().make_block(config, *arguments)
        block = ReleasedQualityBlock if config.quality.variant == "released" else QualityBlock
        return block(*self.block_arguments(config, *arguments))

    def forward(
        self,
        ws: Tensor,
        q: Tensor | None = None,
        noise_mode: str = "random",
        rng: NormalSource | None = None,
        noise: Noise | None = None,
    ) -> Tensor:
        """Map `ws [N, num_ws, w_dim]` and `q [N, D_q]` to images `[N, img_channels, R, R]`.

        Without `q`, or where it is zero throughout, the DegradBlocks are skipped: the result is the plain generator's,
        bit for bit (Eq. 4).
        """
        noise = self.make_noise(noise_mode, ws.shape[0], rng) if noise is None else noise
        x, img = self.trunk(ws, noise)
        q = q if q is not None and q.any() else None
        return self.finish(x, img, ws, noise, q)[0]

    def trunk(self, ws: Tensor, noise: Noise) -> tuple[Tensor, Tensor | None]:
        """Return features and image before the last M blocks."""
        x, img, _ = self.run(ws, noise, range(self.head.start))
        return x, img

    def finish(
        self, x: Tensor, img: Tensor | None, ws: Tensor, noise: Noise, q: Tensor | None = None, both: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the last M blocks; return the image and each block's features.

        With `both`, there are 2 N rows: `G(w, 0)`, then `G(w, q)`, at less than the price of two calls.
        """
        features = []
        for index in self.head:
            x, img = self.block(index)(x, img, self.block_ws(ws, index), noise[index], q, both)
            features.append(x)
        return img, features


class Generator(stylegan2.Generator):
    """F: mapping and quality-controllable synthesis; `config.quality` must be set."""

    synthesis_class = QualitySynthesis

    @property
    def q_dim(self) -> int:
        """Width of the quality code, D_q."""
        return self.config.quality.q_dim

    def freeze_trunk(self) -> None:
        """Leave only the last M synthesis blocks to training (paper, section 3.3)."""
        self.requires_grad_(False)
        for index in self.synthesis.head:
            self.synthesis.block(index).requires_grad_(True)

    @torch.no_grad()
    def load_base(self, base: stylegan2.Generator) -> None:
        """Take over every weight of a plain generator of the same widths; the DegradBlocks keep theirs."""
        own = self.state_dict()
        for name, value in base.state_dict().items():
            # The released conv1 has its extra channels after the plain ones.
            own[name][: len(value)].copy_(value) if value.ndim else own[name].copy_(value)


def _fill(value: Tensor | None, rows: int) -> Tensor | None:
    """Repeat 1 or N rows until there are `rows`; None stays None."""
    if value is None or value.shape[0] == rows:
        return value
    return torch.cat([value] * (rows // len(value)))
