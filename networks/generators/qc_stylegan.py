"""QC-StyleGAN: StyleGAN2's generator whose last M blocks see a quality code (paper, section 3)."""

from torch import Tensor

from dnnlib.config import require
from networks.config import GeneratorConfig, QualityConfig
from networks.generators import stylegan2
from networks.generators.degrad_block import for_any_batch
from networks.generators.interface import Content
from networks.generators.pixel_block import PixelQualityBlock
from networks.generators.quality_block import OwnConvolutionBlock, QualityBlock, ReleasedQualityBlock
from networks.generators.stylegan2 import BlockShape, SynthesisBlock, SynthesisNetwork


class QualitySynthesis(SynthesisNetwork):
    """G: `ws` and `q` to images. The blocks before the last M are the trunk, on which `q` has no effect."""

    def __init__(self, config: GeneratorConfig, img_resolution: int, img_channels: int):
        super().__init__(config, img_resolution, img_channels)
        blocks = quality_of(config).blocks
        first = self.num_blocks - blocks
        require(first >= 1, "quality.blocks", blocks, f"below {self.num_blocks}, the synthesis blocks")
        self.trunk_blocks = first
        self.head = range(first, self.num_blocks)

    def make_block(self, config: GeneratorConfig, shape: BlockShape) -> SynthesisBlock:
        quality = quality_of(config)
        if shape.resolution * 2**quality.blocks <= self.img_resolution:
            return super().make_block(config, shape)
        if quality.variant == "released":
            return ReleasedQualityBlock(config, shape, quality)
        has_image = shape.is_last or config.architecture == "skip"
        block = PixelQualityBlock if quality.variant == "pixels" and has_image else OwnConvolutionBlock
        return block(config, shape, quality)

    def run_block(
        self,
        index: int,
        x: Tensor | None,
        img: Tensor | None,
        content: Content,
        q: Tensor | None = None,
        both: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        quality = (q, both) if index in self.head else ()
        return self.block(index)(x, img, *self.inputs(index, content), *quality)

    def traceable(self) -> SynthesisNetwork:
        synthesis = super().traceable()
        for_any_batch(synthesis)
        return synthesis


class Generator(stylegan2.Generator):
    """F: mapping and quality-controllable synthesis; `config.quality` must be set."""

    def make_synthesis(self) -> SynthesisNetwork:
        return QualitySynthesis(self.config, self.img_resolution, self.img_channels)

    @property
    def q_dim(self) -> int:
        return quality_of(self.config).q_dim

    def freeze_trunk(self) -> None:
        self.requires_grad_(False)
        for block in self.synthesis.modules():
            if isinstance(block, QualityBlock):
                block.requires_grad_(True)

    def freeze_plain(self) -> None:
        self.requires_grad_(False)
        for block in self.synthesis.modules():
            if isinstance(block, QualityBlock):
                assert not isinstance(block, ReleasedQualityBlock), "its DegradBlock is a part of conv1"
                block.degrade.requires_grad_(True)


def quality_of(config: GeneratorConfig) -> QualityConfig:
    """Return the configuration of the quality code, which a QC generator must have."""
    assert config.quality is not None, "a QC generator needs generator.quality"
    return config.quality
