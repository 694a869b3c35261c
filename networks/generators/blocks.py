"""What synthesis networks of consecutive blocks have in common."""

import abc

from torch import Tensor, nn

from networks.generators.interface import Content, Synthesis, SynthesisPart


class BlockSynthesis(Synthesis):
    """A synthesis network that runs block by block."""

    @abc.abstractmethod
    def run(
        self, content: Content, stop: int, q: Tensor | None = None, both: bool = False
    ) -> tuple[Content, list[Tensor]]:
        """Run the blocks up to, but without, block `stop`; return what they leave and each one's features.

        `q` and `both` are for the blocks that have DegradBlocks, see `QualityBlock.forward`.
        """

    @abc.abstractmethod
    def block_names(self, index: int) -> list[str]:
        """Return the names of the modules of block `index`."""

    @property
    def has_quality(self) -> bool:
        """Whether a quality code has an effect."""
        return self.trunk_blocks > 0

    def image(self, content: Content, q: Tensor | None = None) -> Tensor:
        assert q is None or self.has_quality, "a plain generator has no quality code"
        return _image_of(self.run(content, self.num_blocks, q)[0])

    def twins(self, content: Content, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        assert self.has_quality, "a plain generator has no quality code"
        content, features = self.run(content, self.num_blocks, q, both=True)
        return _image_of(content), features

    def features(self, content: Content) -> list[Tensor]:
        return self.run(content, self.num_blocks)[1]

    def parts(self, last_blocks: int | None = None) -> tuple[SynthesisPart, SynthesisPart]:
        first = 0 if last_blocks is None else max(0, self.num_blocks - last_blocks)
        return BlockRange(self, range(first)), BlockRange(self, range(first, self.num_blocks))


class BlockRange(SynthesisPart):
    """The blocks of a synthesis network whose indices are in `blocks`."""

    def __init__(self, synthesis: BlockSynthesis, blocks: range):
        super().__init__()
        self.synthesis = synthesis
        self.blocks = blocks

    def own_parameters(self) -> dict[str, nn.Parameter]:
        names = [name for index in self.blocks for name in self.synthesis.block_names(index)]
        prefixes = tuple(f"synthesis.{name}." for name in names)
        return {name: parameter for name, parameter in self.named_parameters() if name.startswith(prefixes)}

    def forward(self, content: Content, q: Tensor | None) -> Content:
        """Return the content after these blocks, with sharp and degraded images where there is a `q [N, q_dim]`."""
        assert content.block == self.blocks.start, f"block {content.block} comes next, not {self.blocks.start}"
        return self.synthesis.run(content, self.blocks.stop, q, both=q is not None)[0]


def _image_of(content: Content) -> Tensor:
    assert content.img is not None, "the last block gives the image"
    return content.img
