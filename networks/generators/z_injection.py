"""The quality code beside `z` before the mapping (paper, section 4.8): `w(q) = M([z, q])`.

There `w` itself depends on the quality, so that an image keeps what the mapping made its `w` of: `ws` of such a
network are `[w, z]`, the `w` of the sharp image with the mapping's input behind it. The code adds
`M([z, q]) - M([z, 0])` to `w`, which is zero where `q` is: sharp images are bit for bit the plain generator's of the
same weights. Truncation draws the sharp `w` to the mean; what the code adds stays.
"""

import math
import os
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnnlib.errors import UserError
from networks.config import GeneratorConfig
from networks.generators.interface import Content, Noise
from networks.generators.qc_stylegan import quality_of
from networks.generators.style_injection import InjectedGenerator, InjectedSynthesis
from networks.latents import Latents
from networks.layers import FullyConnected
from networks.mapping import MappingNetwork, input_width


class CodedMapping(MappingNetwork):
    """M: `z` and classes to `[w, z]`; and what a code beside `z` changes in `w`.

    The code's part of the first layer begins at zero, so that training starts sharp, and learns at the rate of the
    other networks. Codes are not normalised as `z` is: their length is the strength.
    """

    fc0: FullyConnected
    code_weight: nn.Parameter  # [w_dim, q_dim], made by `add_code`
    code_gain: float

    def add_code(self, q_dim: int) -> None:
        """Let the first layer see codes of `q_dim` numbers."""
        self.code_weight = nn.Parameter(torch.zeros(len(self.w_avg), q_dim))
        self.code_gain = 1 / math.sqrt(q_dim)

    def forward(
        self, z: Tensor | None, c: Tensor | None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """Return `[w, z]`, `[N, num_ws, w_dim + input_width]`, of `z [N, z_dim]` and `c [N, c_dim]`; psi is for `w`."""
        ws = super().forward(z, c, truncation_psi, truncation_cutoff)  # [N, num_ws, w_dim]
        inputs = self.inputs(z, c)[:, None].expand(-1, ws.shape[1], -1)  # [N, num_ws, input_width]
        return torch.cat([ws, inputs], dim=2)

    def change(self, inputs: Tensor, q: Tensor) -> Tensor:
        """Return what `q [N, q_dim]` adds to each `w`, `[N, L, w_dim]`, from its inputs `[N, L, input_width]`."""
        product = self.fc0.product(inputs.flatten(0, 1))  # [N * L, w_dim]
        added = q @ (self.code_weight * self.code_gain).t()  # [N, w_dim]
        added = added.repeat_interleave(inputs.shape[1], dim=0)  # [N * L, w_dim]
        changed = self._behind(product + added) - self._behind(product)
        return changed.unflatten(0, (-1, inputs.shape[1]))

    def track_average(self, mean_w: Tensor) -> None:
        super().track_average(mean_w[: len(self.w_avg)])

    def _behind(self, product: Tensor) -> Tensor:
        """Return the `w` of a product of the first layer."""
        x = self.fc0.activate(product)
        for index in range(1, self.num_layers):
            x = getattr(self, f"fc{index}")(x)
        return x


class MappedSynthesis(InjectedSynthesis):
    """G: `[w, z]` and `q` to images; there is no trunk.

    Args:
        config: widths, architecture, precision, quality code.
        c_dim: width of the labels.
        img_resolution: side of the images.
        img_channels: channels of the images.

    Attributes:
        change: the mapping's `CodedMapping.change`, whose weights are the mapping's alone.
    """

    change: Callable[[Tensor, Tensor], Tensor]

    def __init__(self, config: GeneratorConfig, c_dim: int, img_resolution: int, img_channels: int):
        super().__init__(config, img_resolution, img_channels)
        self.input_width = input_width(config.z_dim, c_dim, config.w_dim)
        self.w_dim = config.w_dim + self.input_width
        self.head = range(self.num_blocks)
        for index in self.head:
            self.block(index).degrades = True

    def content(self, latents: Latents, noise: Noise, blocks: int | None = None) -> Content:
        ws, z = latents.ws.split([self.w_dim - self.input_width, self.input_width], dim=2)
        start = Content(None, None, ws, noise, 0, latents.padding, latents.features, z)
        return self.run(start, self.trunk_blocks if blocks is None else blocks)[0]

    def coded(self, index: int, content: Content, q: Tensor) -> tuple[Tensor, Tensor]:
        assert content.z is not None, "the content is of another network"
        ws = self.block_ws(content.ws, index)  # [N, layers, w_dim]
        return ws, ws + self.change(self.block_ws(content.z, index), q)

    def style_layers(self) -> Iterator[tuple[int, Tensor]]:
        for driver, weights in super().style_layers():
            yield driver, F.pad(weights, (0, self.input_width))  # weights for the sharp image, in which z has no part


class Generator(InjectedGenerator):
    """F: mapping of `[z, q]` and synthesis."""

    synthesis: MappedSynthesis
    mapping: CodedMapping

    def make_synthesis(self) -> MappedSynthesis:
        return MappedSynthesis(self.config, self.c_dim, self.img_resolution, self.img_channels)

    def make_mapping(self) -> CodedMapping:
        mapping = self.mapping_of_kind(CodedMapping)
        mapping.add_code(quality_of(self.config).q_dim)
        self.synthesis.change = mapping.change
        return mapping

    def code_parameters(self) -> list[nn.Parameter]:
        return [self.mapping.code_weight]

    def require_own_codes(self, network: str | os.PathLike) -> None:
        raise UserError(
            f"{network} has generator.quality.injection=concat_z, with which w depends on the quality, so that content "
            "and quality have no codes of their own; give a network of another injection"
        )
