"""A synthesis network for many images of the same weights: its passes are replayed (`torch_utils.replay`)."""

from torch import Tensor

from networks.generators.interface import Content, Generator, Noise
from networks.generators.stylegan2 import SynthesisNetwork
from networks.latents import Latents
from torch_utils.replay import Replayed, Tensors


class FrozenSynthesis:
    """The passes of a generator's synthesis network, with the same bits, in less time where images are few.

    Weights may still be written to, which costs a recording; they must not be replaced. Codes and networks of more than
    `ws` and `q`, gradients and GPUs take the network's own passes.
    """

    def __init__(self, G: Generator):
        self.synthesis = G.synthesis
        weights = [*G.synthesis.parameters(), *G.synthesis.buffers()]
        self._content = Replayed(self._content_of, weights)
        self._image = Replayed(self._image_of, weights)

    def content(self, latents: Latents, noise: Noise) -> Content:
        """Return the state after the trunk, as `Synthesis.content` does."""
        is_plain = latents.padding is None and latents.features is None
        if not isinstance(self.synthesis, SynthesisNetwork) or not is_plain or self.synthesis.trunk_blocks == 0:
            return self.synthesis.content(latents, noise)
        x, img = self._content(latents.ws, *_flat(noise))
        return Content(x, img, latents.ws, noise, self.synthesis.trunk_blocks)

    def image(self, content: Content, q: Tensor | None = None) -> Tensor:
        """Return images `[N, img_channels, R, R]`, as `Synthesis.image` does."""
        more = (content.padding, content.features, content.z, content.coords)
        if not isinstance(self.synthesis, SynthesisNetwork) or any(each is not None for each in more):
            return self.synthesis.image(content, q)
        [image] = self._image(q, content.x, content.img, content.ws, *_flat(content.noise))
        assert image is not None, "the last block gives the image"
        return image

    def _content_of(self, ws: Tensor, *noise: Tensor | None) -> Tensors:
        content = self.synthesis.content(Latents(ws), self._nested(noise))
        return content.x, content.img

    def _image_of(
        self, q: Tensor | None, x: Tensor | None, img: Tensor | None, ws: Tensor, *noise: Tensor | None
    ) -> Tensors:
        content = Content(x, img, ws, self._nested(noise), self.synthesis.trunk_blocks)
        return (self.synthesis.image(content, q),)

    def _nested(self, noise: Tensors) -> Noise:
        """Return the noise by blocks, as `make_noise` has it."""
        remaining = iter(noise)
        return [[next(remaining) for _ in block] for block in self.synthesis.make_noise("none", 1)]


def _flat(noise: Noise) -> list[Tensor | None]:
    return [layer for block in noise for layer in block]
