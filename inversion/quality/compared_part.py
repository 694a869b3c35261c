"""The part of images in which their degradation is compared with that of a photo."""

from torch import Tensor

from networks.generators.interface import Content, Generator
from networks.generators.window import middle

LEAST = 64  # smallest side of the part, in pixels; of larger images a quarter of the side
MARGIN = 8  # pixels around it that are rendered besides, since a border changes its neighbours


class ComparedPart:
    """A square in the middle of images, which tells as much of a degradation as all of them, and costs less.

    Args:
        G: QC generator.
        content: what precedes its DegradBlocks, of N images.
    """

    def __init__(self, G: Generator, content: Content) -> None:
        self.G = G
        side = max(LEAST, G.img_resolution // 4) + 2 * MARGIN
        self.content, self.pixels = middle(content, G.img_resolution, side)
        is_whole = self.pixels == slice(0, G.img_resolution)
        self.inner = slice(None) if is_whole else slice(MARGIN, -MARGIN)

    def render(self, q: Tensor | None) -> Tensor:
        """Return this part of `G(w, q)`, `[N, C, S, S]`; of the sharp images for None."""
        return self._inner(self.G.synthesis.image(self.content, q))

    def cut(self, photos: Tensor) -> Tensor:
        """Return this part of photos `[N, C, R, R]`."""
        return self._inner(photos[:, :, self.pixels, self.pixels])

    def _inner(self, images: Tensor) -> Tensor:
        return images[:, :, self.inner, self.inner]
