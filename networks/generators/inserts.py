"""What codes besides w put into the blocks of a generator: paddings (Bai et al. 2022) and features (Yao et al. 2022).

Layers are styled 3x3 convolutions, counted from 1 at 4x4: layer 2 B is conv0 of block B, layer 2 B + 1 is its conv1.
"""

from typing import NamedTuple

from torch import Tensor

from networks.latents import Features, Padding


class Inserts(NamedTuple):
    """What one block gets besides `w` and noise; None: nothing.

    Attributes:
        const: `[N, C, 4, 4]`, in place of the learned constant.
        ring0: `[N, C_out, P]`, around the enlarged features of conv0.
        ring1: `[N, C_out, P]`, around the features that conv1 reads.
        f: `[N, C_out, R, R]`, in place of the output of conv0.
        x: `[N, C_out, R, R]`, in place of the output of the block, which its image layer sees.
    """

    const: Tensor | None = None
    ring0: Tensor | None = None
    ring1: Tensor | None = None
    f: Tensor | None = None
    x: Tensor | None = None


NOTHING = Inserts()


def last_replaceable(blocks: int, trunk_blocks: int) -> int:
    """Return the number of the last layer whose features may be replaced: another one reads them, before DegradBlocks.

    Args:
        blocks: blocks of the network.
        trunk_blocks: those before the first with a DegradBlock; 0: there is none.
    """
    return 2 * trunk_blocks - 1 if trunk_blocks > 0 else 2 * blocks - 2


def inserts_of(index: int, resolution: int, padding: Padding | None, features: Features | None) -> Inserts:
    """Return what block `index` of this resolution gets from the codes of some images."""
    if padding is None and features is None:
        return NOTHING
    padding = padding or Padding()
    f = features.values if features is not None and features.layer == 2 * index else None
    is_output = features is not None and features.in_image and features.layer == 2 * index + 1
    return Inserts(
        padding.const if index == 0 else None,
        padding.rings.get(f"b{resolution}.conv0"),
        padding.rings.get(f"b{resolution}.conv1"),
        f,
        features.values if features is not None and is_output else None,
    )


def entering(index: int, features: Features | None) -> Tensor | None:
    """Return the features that enter block `index` in place of those of the block before; None: those stay."""
    if features is None or features.in_image or features.layer != 2 * index - 1:
        return None
    return features.values
