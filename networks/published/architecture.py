"""Which networks tensors belong to: configurations from names and shapes."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from dnnlib.errors import UserError
from networks.config import DiscriminatorConfig, GeneratorConfig, MappingConfig, QualityConfig
from networks.files import ImageFormat

LARGEST = 4096  # px


def generator_architecture(tensors: Mapping[str, Tensor]) -> tuple[GeneratorConfig, ImageFormat]:
    """Return the configuration of a generator, with defaults where shapes tell nothing.

    Raises UserError, a sentence without its subject, where a tensor is missing.
    """
    sides = block_sides(tensors, "synthesis.")
    widths = {side: shape_of(tensors, f"synthesis.b{side}.conv1.affine.weight", 2)[0] for side in sides}
    channels = shape_of(tensors, f"synthesis.b{sides[-1]}.torgb.weight", 4)[0]
    z_dim, w_dim, c_dim = latent_widths(tensors)
    base, largest = channels_of(widths)
    config = GeneratorConfig(
        z_dim=z_dim,
        w_dim=w_dim,
        channel_base=base,
        channel_max=largest,
        architecture=_architecture(tensors, "synthesis.b4.torgb.weight", "synthesis.b8.skip.weight"),
        mapping=MappingConfig(num_layers=mapping_layers(tensors)),
        quality=_quality(tensors, sides, widths),
    )
    return config, ImageFormat(sides[-1], channels, c_dim)


def discriminator_architecture(tensors: Mapping[str, Tensor]) -> tuple[DiscriminatorConfig, ImageFormat]:
    """Return the configuration of a discriminator; the rest as `generator_architecture`."""
    sides = block_sides(tensors, "")
    widths = {side: shape_of(tensors, f"b{side}.conv0.weight", 4)[0] for side in sides[1:]}
    widths[4], features = shape_of(tensors, "b4.conv.weight", 4)[:2]
    channels = shape_of(tensors, f"b{sides[-1]}.fromrgb.weight", 4)[1]
    c_dim = shape_of(tensors, "mapping.embed.weight", 2)[1] if "mapping.embed.weight" in tensors else 0
    base, largest = channels_of(widths)
    config = DiscriminatorConfig(
        channel_base=base,
        channel_max=largest,
        architecture=_architecture(tensors, "b4.fromrgb.weight", "b8.skip.weight"),
        mapping_layers=mapping_layers(tensors) if c_dim else DiscriminatorConfig().mapping_layers,
        mbstd_channels=features - widths[4],
    )
    return config, ImageFormat(sides[-1], channels, c_dim)


def latent_widths(tensors: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Return the widths z_dim, w_dim and c_dim of a mapping network."""
    w_dim, inputs = shape_of(tensors, "mapping.fc0.weight", 2)
    c_dim = shape_of(tensors, "mapping.embed.weight", 2)[1] if "mapping.embed.weight" in tensors else 0
    return inputs - (w_dim if c_dim else 0), w_dim, c_dim


def block_sides(tensors: Mapping[str, Tensor], prefix: str) -> list[int]:
    """Return 4, 8, ... up to the image's side."""
    numbers = {match[1] for name in tensors if (match := re.match(rf"{re.escape(prefix)}b(\d{{1,9}})\.", name))}
    largest = max(map(int, numbers), default=0)
    if not 8 <= largest <= LARGEST or largest & (largest - 1):
        raise UserError(f"has no network for images of a power of two from 8 to {LARGEST} px")
    return [2**i for i in range(2, largest.bit_length())]


def shape_of(tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """Return the shape of a tensor, of which no side is 0."""
    if name not in tensors:
        raise UserError(f"lacks the tensor {name}; it is no whole network")
    shape = tuple(tensors[name].shape)
    if len(shape) != axes or 0 in shape:
        raise UserError(f"has the tensor {name} in the shape {list(shape)}, it has {axes} axes in such networks")
    return shape


def channels_of(widths: Mapping[int, int]) -> tuple[int, int]:
    """Return the smallest `channel_base`, and the `channel_max`, that give these feature maps."""
    return max(side * width for side, width in widths.items()), max(widths.values())


def _architecture(
    tensors: Mapping[str, Tensor], image_at_4: str, shortcut_at_8: str
) -> Literal["resnet", "skip", "orig"]:
    if shortcut_at_8 in tensors:
        return "resnet"
    return "skip" if image_at_4 in tensors else "orig"


def mapping_layers(tensors: Mapping[str, Tensor]) -> int:
    """Return how many layers the mapping network has."""
    return len({name for name in tensors if re.fullmatch(r"mapping\.fc\d+\.weight", name)})


def _quality(tensors: Mapping[str, Tensor], sides: Sequence[int], widths: Mapping[int, int]) -> QualityConfig | None:
    """Return what the released model's DegradBlocks are, or None where there are none."""
    blocks = [side for side in sides if f"synthesis.b{side}.convq.0.weight" in tensors]
    if not blocks:
        return None
    side = blocks[-1]
    width = shape_of(tensors, f"synthesis.b{side}.convq.0.weight", 4)[1]
    extra = shape_of(tensors, f"synthesis.b{side}.conv1.weight", 4)[0] - widths[side]
    depth = sum(re.fullmatch(rf"synthesis\.b{side}\.convq\.\d+\.weight", name) is not None for name in tensors)
    return QualityConfig(
        variant="released", q_dim=max(1, extra // width), channels=width, depth=depth, blocks=len(blocks)
    )
