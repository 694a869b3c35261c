"""What the rest of the program may ask of a generator, whatever its kind."""

import abc
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.config import GeneratorConfig
from networks.generators.coordinates import Coordinates
from networks.latents import Features, Latents, Padding, is_code
from networks.mapping import MappingNetwork

# For each synthesis block the noise of its layers, [N or 1, 1, H, W] or None, and then that of its DegradBlock, if any.
Noise = list[list[Tensor | None]]
M = TypeVar("M", bound=MappingNetwork)


class Rng(Protocol):
    """A source of normal noise: `torch_utils.seeding.BatchRandom`, or anything with its `randn`."""

    def randn(self, *shape: int) -> Tensor:
        """Return normal numbers float32 `[N, *shape]`, N of them for the images of a batch."""


class Content(NamedTuple):
    """The state of synthesis before a block: what all qualities of some images share.

    Attributes:
        x: features `[N, C, H, W]`; None before the first block.
        img: image so far `[N, img_channels, H, W]`, or None.
        ws: `[N, num_ws, w_dim]`.
        noise: the noise of all layers.
        block: index of the next block.
        padding: what surrounds the features of layers; None: zeros.
        features: what replaces the features of the first layers; None: nothing.
        z: what the mapping made each of `ws` of, `[N, num_ws, input_width]`; only where `q` joins it there.
        lines: what is to be fused to a map, `[N, B, H + W, D]` each; only where there are coordinates.
        coords: where the pixels are; None: a network that knows one grid.
    """

    x: Tensor | None
    img: Tensor | None
    ws: Tensor
    noise: Noise
    block: int
    padding: Padding | None = None
    features: Features | None = None
    z: Tensor | None = None
    lines: tuple[Tensor, ...] = ()
    coords: Coordinates | None = None


class BlockFacts(NamedTuple):
    """What is to be known about a block: its name, sizes, number of layers and parameters, and number type.

    `degrades` says whether it has a DegradBlock.
    """

    name: str
    resolution: int
    channels: int
    layers: int
    parameters: int
    dtype: torch.dtype
    degrades: bool


class Synthesis(nn.Module, abc.ABC):
    """From codes to images, in blocks. In `content` run the blocks that all qualities of an image share.

    Attributes:
        w_dim: width of each of an image's `ws`.
        num_ws: how many `w` an image has.
        num_blocks: how many blocks there are.
        trunk_blocks: how many blocks come before the first that sees a quality code; 0 in a plain network.
    """

    w_dim: int
    num_ws: int
    num_blocks: int
    trunk_blocks: int

    def forward(
        self,
        ws: Tensor,
        q: Tensor | None = None,
        noise_mode: str = "random",
        rng: Rng | None = None,
        noise: Noise | None = None,
    ) -> Tensor:
        """Map `ws [N, num_ws, w_dim]` and `q [N, D_q]` to images `[N, img_channels, R, R]`.

        Without `q`, or where it is zero throughout, the DegradBlocks are skipped: the result is the plain generator's,
        bit for bit (Eq. 4).
        """
        noise = self.make_noise(noise_mode, ws.shape[0], rng) if noise is None else noise
        content = self.content(Latents(ws), noise)
        return self.image(content, q if q is not None and q.any() else None)

    @abc.abstractmethod
    def make_noise(self, noise_mode: str, batch: int, rng: Rng | None = None) -> Noise:
        """Return every layer's noise: `random` (from `rng`, or torch's global state), `const`, or `none`."""

    @abc.abstractmethod
    def content(self, latents: Latents, noise: Noise, blocks: int | None = None) -> Content:
        """Run the first `blocks` blocks (default: the trunk) on codes, whose `q` has no effect there."""

    @abc.abstractmethod
    def layer_output(self, latents: Latents, noise: Noise, layer: int) -> Tensor:
        """Return the features that layer K makes of codes, `G(w^{1:K})`, `[N, C, S, S]`; their own have no effect."""

    @abc.abstractmethod
    def code_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape, without the rows, of every code that this network takes, by its name in `Latents`."""

    @abc.abstractmethod
    def own_padding(self) -> Padding:
        """Return the padding, of one row, which leaves all images as they are: the learned constant, and zeros."""

    @abc.abstractmethod
    def image(self, content: Content, q: Tensor | None = None) -> Tensor:
        """Return the images `[N, img_channels, R, R]`, float32, nominally in [-1, 1].

        With `q [N, q_dim]` the DegradBlocks always run, so that `q` has a gradient even where it is zero.
        """

    @abc.abstractmethod
    def twins(self, content: Content, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the sharp images and then the degraded ones, `[2 N, img_channels, R, R]`, in one pass.

        The second value is the features of each block behind the trunk, `[2 N, C, H, W]` (Eq. 11 compares them).
        """

    @abc.abstractmethod
    def features(self, content: Content) -> list[Tensor]:
        """Return the features of the remaining blocks for sharp images, `[N, C, H, W]` each."""

    @abc.abstractmethod
    def parts(self, last_blocks: int | None = None) -> tuple["SynthesisPart", "SynthesisPart"]:
        """Return the blocks before the last `last_blocks`, and these; None: all are in the second part."""

    @abc.abstractmethod
    def style_layers(self) -> Iterator[tuple[int, Tensor]]:
        """Yield for each layer the number of the `w` that drives it, and the matrix `[styles, w_dim]` applied to it."""

    @abc.abstractmethod
    def describe(self) -> list[BlockFacts]:
        """Return what is to be known about each block."""

    @abc.abstractmethod
    def traceable(self) -> "Synthesis":
        """Return a copy with the same output whose operations are the same for every batch size, for exporters."""


class ScaleFreeSynthesis(Synthesis):
    """A synthesis network without a grid: its pixels may be anywhere."""

    @abc.abstractmethod
    def content(
        self, latents: Latents, noise: Noise, blocks: int | None = None, coords: Coordinates | None = None
    ) -> Content:
        """As `Synthesis.content`, for images `[N, img_channels, H, W]` at `coords`; None: at the trained grid."""

    @abc.abstractmethod
    def line(self, count: int, start: float = 0.0, end: float = 1.0) -> Tensor:
        """Return the coordinates `[count]` of as many pixels, placed as those that the network was trained on."""

    @abc.abstractmethod
    def strips(self, ws: Tensor, coords: Coordinates, pixels: int | None = None) -> Iterator[Tensor]:
        """Yield sharp images `[N, img_channels, h, W]` in strips from the top, in memory that grows with a strip.

        On CPUs a grid of 32 columns or more has the bits of `forward`, whatever the strips are.

        All images of a strip have at most `pixels` pixels together, or one row each; None: a number that suits the
        network.
        """


class SynthesisPart(nn.Module, abc.ABC):
    """Consecutive blocks of a synthesis network, whose weights `torch.func.functional_call` may replace."""

    @abc.abstractmethod
    def own_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters of these blocks by their names in the generator."""

    @abc.abstractmethod
    def forward(self, content: Content, q: Tensor | None) -> Content:
        """Run the blocks; behind the trunk `q` gives 2 N rows, the sharp ones before the degraded ones."""


class Generator(nn.Module, abc.ABC):
    """Mapping and synthesis.

    Args:
        config: kind, widths, architecture, precision.
        c_dim: width of the labels; 0: unconditional.
        img_resolution: side of the images, R.
        img_channels: channels of the images.

    Attributes:
        of_size: names of buffers that follow from the side of the images, and may differ from those of a base network.
    """

    of_size: frozenset[str] = frozenset()

    def __init__(self, config: GeneratorConfig, c_dim: int, img_resolution: int, img_channels: int):
        super().__init__()
        self.config = config
        self.c_dim = c_dim
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.z_dim = config.z_dim
        self.synthesis = self.make_synthesis()
        self.w_dim = self.synthesis.w_dim
        self.mapping = self.make_mapping()

    @abc.abstractmethod
    def make_synthesis(self) -> Synthesis:
        """Return the synthesis network with fresh weights."""

    def make_mapping(self) -> MappingNetwork:
        """Return the mapping network with fresh weights."""
        return self.mapping_of_kind(MappingNetwork)

    def mapping_of_kind(self, kind: type[M]) -> M:
        """Return a mapping network of a class, with fresh weights."""
        mapping = self.config.mapping
        return kind(
            self.config.z_dim,
            self.c_dim,
            self.config.w_dim,
            self.synthesis.num_ws,
            num_layers=mapping.num_layers,
            lr_multiplier=mapping.lr_multiplier,
            w_avg_beta=mapping.w_avg_beta,
        )

    @property
    def num_ws(self) -> int:
        """How many `w` an image has."""
        return self.synthesis.num_ws

    @property
    def q_dim(self) -> int:
        """Width of the quality code, D_q; 0 for a generator without one."""
        return 0

    def require_own_codes(self, network: str | os.PathLike) -> None:
        """Raise UserError, which names the file, where content and quality have no codes of their own.

        Such codes can be found for a photo, stored and mixed.
        """

    def code_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape, without the rows, of every code that this network takes, by its name in `Latents`."""
        return self.synthesis.code_shapes() | ({"q": (self.q_dim,)} if self.q_dim > 0 else {})

    def misfit(self, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """Return why this network does not take codes, as words such as `q of [8], not [16]`; None where it does.

        Args:
            shapes: shape of each code without the rows, by name; other names have no effect.
        """
        known = self.code_shapes()
        for name, shape in shapes.items():
            wanted = known.get(name.removesuffix(".in_image"))
            if is_code(name) and wanted is None:
                return f"{name}, which this network has no place for"
            if wanted is not None and tuple(shape) != wanted:
                return f"{name} of {list(shape)}, not {list(wanted)}"
        return None

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def one_hot(self, classes: Tensor) -> Tensor:
        """Return the labels float32 `[N, c_dim]` of classes int64 `[N]`."""
        return F.one_hot(classes, self.c_dim).float()

    def labels_in_turn(self, count: int) -> Tensor | None:
        """Return labels `[count, c_dim]` that go through all classes; None for an unconditional generator."""
        return self.one_hot(torch.arange(count, device=self.device) % self.c_dim) if self.c_dim > 0 else None

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        **synthesis_kwargs: object,
    ) -> Tensor:
        """Map `z [N, z_dim]` (and `c [N, c_dim]`) to images `[N, img_channels, R, R]`."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, **synthesis_kwargs)

    @torch.no_grad()
    def load_base(self, base: "Generator") -> None:
        """Take over every weight that this network has of a plain generator of the same widths, or of a QC one."""
        own = self.state_dict()
        for name, value in base.state_dict().items():
            if name not in own or (name in self.of_size and own[name].shape != value.shape):
                continue
            # The conv1 of a `released` DegradBlock has its extra channels after the plain ones.
            own[name][: len(value)].copy_(value) if value.ndim else own[name].copy_(value)

    def freeze_trunk(self) -> None:
        """Leave only the last M synthesis blocks, those with a DegradBlock, to training (paper, section 3.3)."""
        raise AssertionError("a plain generator has no blocks behind the trunk")

    def freeze_plain(self) -> None:
        """Leave only the DegradBlocks to training, so that sharp images stay as they are."""
        raise AssertionError("a plain generator has no DegradBlocks")

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training changes, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
