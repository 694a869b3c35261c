"""CREPS' generator: StyleGAN2's mapping network and synthesis on lines, with a quality code or without."""

from dnnlib.config import require
from networks.config import GeneratorConfig
from networks.generators import interface
from networks.generators.creps.refinement import QualityRefinement
from networks.generators.creps.synthesis import REFINEMENT_BLOCKS, CrepsSynthesis, creps_of
from networks.resolutions import channels_at

SMALLEST_SIDE = 8  # block b4 adds nothing to the lines that are fused
VARIANTS = ("paper", "adain")  # of DegradBlocks that need neither noise of their own nor the channels of a conv1


class Generator(interface.Generator):
    """F: mapping and synthesis; `config.creps` must be set."""

    # A network of the same blocks may place more pixels.
    of_size = frozenset({"synthesis.b4.input.coords"})

    def make_synthesis(self) -> CrepsSynthesis:
        self._check()
        return CrepsSynthesis(self.config, self.img_resolution, self.img_channels)

    @property
    def q_dim(self) -> int:
        return 0 if self.config.quality is None else self.config.quality.q_dim

    def freeze_trunk(self) -> None:
        self.requires_grad_(False)
        for block in self._quality_blocks():
            block.requires_grad_(True)

    def freeze_plain(self) -> None:
        self.requires_grad_(False)
        for block in self._quality_blocks():
            block.degrade.requires_grad_(True)

    def _quality_blocks(self) -> list[QualityRefinement]:
        blocks = [block for block in self.synthesis.modules() if isinstance(block, QualityRefinement)]
        assert blocks, "a plain generator has no DegradBlocks"
        return blocks

    def _check(self) -> None:
        """Raise UserError for sizes that such a network cannot have."""
        config: GeneratorConfig = self.config
        side, quality = self.img_resolution, config.quality
        require(side >= SMALLEST_SIDE, "resolution", side, f"at least {SMALLEST_SIDE} for generator.kind=creps")
        last = creps_of(config).last_block
        require(last is None or last <= side, "creps.last_block", last, f"at most {side}, the side of the images")
        width = channels_at(4, config.channel_base, config.channel_max)
        require(width % 2 == 0, "generator.channel_max", width, "even, for as many sines as cosines")
        if quality is None:
            return
        injection = quality.injection
        require(injection == "degrad_block", "quality.injection", injection, "degrad_block for generator.kind=creps")
        known = " or ".join(VARIANTS)
        require(quality.variant in VARIANTS, "quality.variant", quality.variant, f"{known} for generator.kind=creps")
        require(quality.blocks <= REFINEMENT_BLOCKS, "quality.blocks", quality.blocks, "1 or 2, those of refinement")
