"""Other ways for a quality code into a generator than DegradBlocks (paper, section 4.8): through its styles.

`concat_w`: every layer's style is an affine map of `[w, q]`. `dual_style`: `q` takes a style path of its own, whose
code joins the styles of the last M blocks with weights of their own (as in DualStyleGAN, Yang et al. 2022). For
`concat_z` see `z_injection.py`. What depends on `q` has no bias and vanishes with it, and is skipped where there is
none: sharp images are bit for bit the plain generator's of the same weights. Eq. 10 does not hold, since styles are
normalised.
"""

import abc
import math
from typing import Any

import torch
from torch import Tensor, nn

from dnnlib.config import require
from networks.config import GeneratorConfig
from networks.generators import stylegan2
from networks.generators.inserts import Inserts
from networks.generators.interface import Content
from networks.generators.qc_stylegan import quality_of
from networks.generators.stylegan2 import SynthesisBlock, SynthesisNetwork
from networks.layers import FullyConnected, perceptron

PATH_LAYERS = 4  # layers of the style path of `dual_style`


class CodedAffine(FullyConnected):
    """A layer's style, `[N, w_dim]` or with a code behind it `[N, w_dim + code_dim]` to `[N, channels]`.

    The code's part begins at zero: training starts sharp.
    """

    def __init__(self, plain: FullyConnected, code_dim: int):
        channels, self.w_dim = plain.weight.shape
        super().__init__(self.w_dim, channels, bias_init=1)
        self.weight = plain.weight
        self.bias = plain.bias
        self.code_weight = nn.Parameter(torch.zeros(channels, code_dim))
        self.code_gain = 1 / math.sqrt(code_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return styles `[N, channels]` of `x`, `[N, w_dim]` or with a code `[N, w_dim + code_dim]`."""
        styles = super().forward(x[:, : self.w_dim])
        if x.shape[1] == self.w_dim:
            return styles
        return styles + x[:, self.w_dim :] @ (self.code_weight.to(x.dtype) * self.code_gain).t()


class InjectedSynthesis(SynthesisNetwork, abc.ABC):
    """G: `ws` and `q` to images. Blocks before the first of `head` are the trunk, on which `q` has no effect."""

    head: range

    @property
    def has_quality(self) -> bool:
        return True

    @abc.abstractmethod
    def coded(self, index: int, content: Content, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the layers of block `index` make styles of, `[N, layers, width]`: for sharp images, and with `q`.

        Those of zero codes are alike.
        """

    def run_block(
        self,
        index: int,
        x: Tensor | None,
        img: Tensor | None,
        content: Content,
        q: Tensor | None = None,
        both: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if q is None or index not in self.head:
            return super().run_block(index, x, img, content)
        _, noise, inserts = self.inputs(index, content)
        sharp, degraded = self.coded(index, content, q)
        if not both:
            return self.block(index)(x, img, degraded, noise, inserts)
        coded = torch.cat([sharp, degraded])  # [2 N, layers, width]
        rows = coded.shape[0]
        noise = [_twice(layer, rows) for layer in noise]
        inserts = Inserts(*(_twice(each, rows) for each in inserts))
        return self.block(index)(_twice(x, rows), _twice(img, rows), coded, noise, inserts)


class StyleSynthesis(InjectedSynthesis):
    """`concat_w` and `dual_style`: styles of `[w, q]`, or of `w` and a code that a path makes of `q`."""

    def __init__(self, config: GeneratorConfig, img_resolution: int, img_channels: int):
        super().__init__(config, img_resolution, img_channels)
        quality = quality_of(config)
        self.path = nn.Sequential()
        code_dim = quality.q_dim
        if quality.injection == "dual_style":
            require(quality.blocks < self.num_blocks, "quality.blocks", quality.blocks, f"below {self.num_blocks}")
            self.trunk_blocks = self.num_blocks - quality.blocks
            code_dim = config.w_dim
            self.path = perceptron([quality.q_dim, *[code_dim] * PATH_LAYERS], bias=False)
        self.head = range(self.trunk_blocks, self.num_blocks)
        for index in self.head:
            block = self.block(index)
            block.degrades = True
            for layer in (*block.layers(), block.torgb):
                if layer is not None:
                    layer.affine = CodedAffine(layer.affine, code_dim)

    def coded(self, index: int, content: Content, q: Tensor) -> tuple[Tensor, Tensor]:
        ws = self.block_ws(content.ws, index)  # [N, layers, w_dim]
        code = self.path(q)[:, None].expand(-1, ws.shape[1], -1)  # [N, layers, code_dim]
        return torch.cat([ws, torch.zeros_like(code)], dim=2), torch.cat([ws, code], dim=2)


class InjectedGenerator(stylegan2.Generator, abc.ABC):
    """F: mapping and synthesis with a quality code; `config.quality.injection` says how it enters."""

    synthesis: InjectedSynthesis

    @abc.abstractmethod
    def code_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that have an effect on degraded images alone."""

    @property
    def q_dim(self) -> int:
        return quality_of(self.config).q_dim

    def freeze_trunk(self) -> None:
        self.freeze_plain()
        for block in self._head():
            block.requires_grad_(True)

    def freeze_plain(self) -> None:
        self.requires_grad_(False)
        for parameter in self.code_parameters():
            parameter.requires_grad_(True)

    def _head(self) -> list[SynthesisBlock]:
        return [self.synthesis.block(index) for index in self.synthesis.head]


class Generator(InjectedGenerator):
    """F, whose styles see the code."""

    synthesis: StyleSynthesis

    def make_synthesis(self) -> StyleSynthesis:
        return StyleSynthesis(self.config, self.img_resolution, self.img_channels)

    def code_parameters(self) -> list[nn.Parameter]:
        parts = [module for module in self.synthesis.modules() if isinstance(module, CodedAffine)]
        return [*self.synthesis.path.parameters(), *(part.code_weight for part in parts)]


def _twice(value: Any, rows: int) -> Any:
    """Return a tensor of N rows with them twice, `rows` in all; one row that all share, and None, stay."""
    if value is None or value.shape[0] in (1, rows):
        return value
    return torch.cat([value, value])
