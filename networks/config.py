"""The configuration of networks: widths, architectures, precision, DegradBlocks."""

from dataclasses import dataclass, field
from typing import Literal

from dnnlib.config import require
from dnnlib.errors import UserError
from dnnlib.registry import Registry

Dtype = Literal["fp32", "bf16", "fp16"]
Variant = Literal["paper", "paper+", "pixels", "released", "adain"]
# The variants that training may go on with, where they have all weights of another and more that, but for noise, begin
# without effect.
CONTINUED_BY: dict[Variant, tuple[Variant, ...]] = {
    "paper": ("pixels",),
    "paper+": (),
    "pixels": (),
    "released": (),
    "adain": (),
}
Injection = Literal["degrad_block", "concat_z", "concat_w", "dual_style"]

KINDS = Registry("networks.generators.kinds", "kind of generator")


@dataclass(frozen=True)
class PrecisionConfig:
    """Which blocks compute in fewer bits."""

    dtype: Dtype = "fp32"
    blocks: int = 4  # how many of the highest resolutions use `dtype`; the others stay in float32
    conv_clamp: float | None = None  # bound of activations; None: 256 in fp16, which needs one, and none elsewhere

    def __post_init__(self) -> None:
        require(self.blocks >= 0, "precision.blocks", self.blocks, "at least 0")
        require(self.conv_clamp is None or self.conv_clamp > 0, "precision.conv_clamp", self.conv_clamp, "above 0")

    @property
    def clamp(self) -> float | None:
        """The bound that layers apply."""
        return 256.0 if self.conv_clamp is None and self.dtype == "fp16" else self.conv_clamp


@dataclass(frozen=True)
class MappingConfig:
    """The mapping network M_0."""

    num_layers: int = 8
    lr_multiplier: float = 0.01
    w_avg_beta: float = 0.995

    def __post_init__(self) -> None:
        require(self.num_layers >= 1, "mapping.num_layers", self.num_layers, "at least 1")
        require(self.lr_multiplier > 0, "mapping.lr_multiplier", self.lr_multiplier, "above 0")
        require(0 <= self.w_avg_beta < 1, "mapping.w_avg_beta", self.w_avg_beta, "from 0 to below 1")


@dataclass(frozen=True)
class QualityConfig:
    """The DegradBlocks (paper, section 3.2); `paper+` gives them noise of their own and the place in the 8x8 grid,
    `pixels` does to the image what cameras and files do."""

    variant: Variant = "paper"
    q_dim: int = 16  # D_q
    channels: int | None = None  # L; None: 32, and 16 in the released variant
    depth: int = 3  # P, convolutions in the projection
    blocks: int = 2  # M, how many of the last synthesis blocks have one
    # How the code enters: DegradBlocks; beside z before the mapping; beside w in every layer's style; or a style path
    # into the last blocks (4.8).
    injection: Injection = "degrad_block"

    def __post_init__(self) -> None:
        for name in ("q_dim", "channels", "depth", "blocks"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"quality.{name}", value, "at least 1")

    @property
    def unused(self) -> tuple[str, ...]:
        """The fields that have no effect with this injection."""
        of_blocks = ("variant", "channels", "depth")
        if self.injection == "degrad_block":
            return ()
        return of_blocks if self.injection == "dual_style" else (*of_blocks, "blocks")

    @property
    def width(self) -> int:
        """L, the channels between c and pi."""
        if self.channels is not None:
            return self.channels
        return 16 if self.variant == "released" else 32


@dataclass(frozen=True)
class CrepsConfig:
    """What a generator of kind creps has besides the widths that all kinds have."""

    channels: int = 32  # B, of the lines that are fused, and of the map that they make
    thickness: int = 8  # D, copies of each line
    bandwidth: float = 10.0  # standard deviation of the frequencies, in periods over the image
    # From lines to the map: one fusion at the end, the sum of one behind each block, or decoders between these.
    composition: Literal["none", "sum", "decoders"] = "decoders"
    # The first and last pixel lie half a pixel within the image; False: on its ends, as in published networks. It holds
    # for any size, so that with it images of different sizes show the same.
    pixel_centred: bool = False
    # R of the last block, bR, in a network whose images are larger than those that it was first trained on; None: the
    # side of the images.
    last_block: int | None = None

    def __post_init__(self) -> None:
        for name in ("channels", "thickness"):
            require(getattr(self, name) >= 1, f"creps.{name}", getattr(self, name), "at least 1")
        last = self.last_block
        is_side = last is None or (last >= 8 and last & (last - 1) == 0)
        require(is_side, "creps.last_block", last, "a power of two from 8 on")
        require(self.bandwidth > 0, "creps.bandwidth", self.bandwidth, "above 0")


@dataclass(frozen=True)
class GeneratorConfig:
    """A generator; with `quality`, one with a quality code."""

    kind: str = "stylegan2"  # a file of networks/generators/kinds
    z_dim: int = 512
    w_dim: int = 512
    channel_base: int = 32768
    channel_max: int = 512
    architecture: Literal["skip", "resnet", "orig"] = "skip"
    mapping: MappingConfig = field(default_factory=MappingConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    quality: QualityConfig | None = None
    creps: CrepsConfig | None = None  # None but for kind creps

    def __post_init__(self) -> None:
        for name in ("z_dim", "w_dim", "channel_base", "channel_max"):
            require(getattr(self, name) >= 1, f"generator.{name}", getattr(self, name), "at least 1")
        if self.creps is not None and self.kind != "creps":
            raise UserError(
                f"generator.creps is set for generator.kind={self.kind}; add --generator=creps, or choose another "
                "preset and no field of generator.creps"
            )


@dataclass(frozen=True)
class DiscriminatorConfig:
    """StyleGAN2's discriminator."""

    channel_base: int = 32768
    channel_max: int = 512
    architecture: Literal["resnet", "skip", "orig"] = "resnet"
    mapping_layers: int = 8  # layers of the network that embeds the class
    mbstd_group_size: int | None = 4  # images that share one standard deviation; None: the whole batch
    mbstd_channels: int = 1
    # Period, in pixels of the image, of a learned pattern that the first features carry, so that D knows where in the
    # grid it looks (8: that of JPEG); 0: none, convolutions see the same everywhere.
    grid: int = 0
    # Side of the windows, at random places of that grid, that D sees of the images; 0: it sees them whole. For
    # DegradBlocks alone, which are local. Such a D has the first blocks of one of whole images, and its last layers.
    window: int = 0
    freeze_layers: int = 0  # Freeze-D: layers, from the image on, that keep their weights
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)

    def __post_init__(self) -> None:
        for name in ("channel_base", "channel_max", "mapping_layers"):
            require(getattr(self, name) >= 1, f"discriminator.{name}", getattr(self, name), "at least 1")
        for name in ("mbstd_channels", "freeze_layers", "grid"):
            require(getattr(self, name) >= 0, f"discriminator.{name}", getattr(self, name), "at least 0")
        is_side = self.window == 0 or (self.window >= 8 and self.window & (self.window - 1) == 0)
        require(is_side, "discriminator.window", self.window, "0, for whole images, or a power of two from 8 on")
        group = self.mbstd_group_size
        require(group is None or group >= 1, "discriminator.mbstd_group_size", group, "at least 1, or null for all")
