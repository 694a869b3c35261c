"""A window of images: the part of their content that later blocks turn into these pixels alone."""

from torch import Tensor

from networks.generators.degrad_block import GRID
from networks.generators.interface import Content, Noise


def middle(content: Content, resolution: int, side: int) -> tuple[Content, slice]:
    """Return the content of a square in the middle of images, and which rows and columns of the image it has.

    Layers see zeros beyond a window instead of its neighbours, so that pixels near its border differ a little. The
    square begins at a multiple of JPEG's grid, as the image does. All of the image is returned where it is no larger,
    where rings surround the features that later blocks read, and before the first block, which has no features yet.

    Args:
        content: state of synthesis before a block.
        resolution: side of the images in pixels.
        side: smallest side of the square in pixels.
    """
    if content.x is None:
        return content, slice(0, resolution)
    unit = max(GRID, resolution // content.x.shape[2])  # pixels between places where a window may begin
    count = -(-side // unit)
    start = (resolution // unit - count) // 2 * unit
    if start <= 0 or _has_rings_beyond(content):
        return content, slice(0, resolution)
    pixels = slice(start, start + count * unit)
    x = _part(content.x, resolution, pixels)
    img = None if content.img is None else _part(content.img, resolution, pixels)
    return content._replace(x=x, img=img, noise=_parts_of(content.noise, resolution, pixels)), pixels


def _has_rings_beyond(content: Content) -> bool:
    """Whether rings surround features larger than those of the content."""
    assert content.x is not None, "features are those before a block"
    rings = {} if content.padding is None else content.padding.rings
    return any(int(name.partition(".")[0][1:]) > content.x.shape[2] for name in rings)


def _parts_of(noise: Noise, resolution: int, pixels: slice) -> Noise:
    return [[None if map is None else _part(map, resolution, pixels) for map in block] for block in noise]


def _part(maps: Tensor, resolution: int, pixels: slice) -> Tensor:
    """Return what belongs to some rows and columns of the image, of maps `[N, C, H, W]` of any resolution."""
    first, last = (edge * maps.shape[2] // resolution for edge in (pixels.start, pixels.stop))
    return maps[:, :, first:last, first:last]
