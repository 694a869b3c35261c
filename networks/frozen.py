"""A synthesis network for many images of the same weights: its passes are replayed (`torch_utils.replay`)."""

from torch import Tensor

from networks.generators.interface import Content, Generator, Noise
from networks.generators.stylegan2 import SynthesisNetwork
from networks.latents import Latents
from torch_utils.replay import Replayed, Tensors

Names = tuple[str, ...]  # of the tensors of codes


class FrozenSynthesis:
    """The passes of a generator's synthesis network, with the same bits, in less time where images are few.

    Weights may still be written to, which costs a recording; they must not be replaced. Networks that know no grid or
    whose quality codes join the mapping, gradients and GPUs take the network's own passes.

    Args:
        G: generator whose synthesis network it is.
        calls_before: calls of a kind before it is recorded, which takes as long as some ten to twenty calls gain.
    """

    def __init__(self, G: Generator, calls_before: int = 16):
        self.synthesis = G.synthesis
        self.calls_before = calls_before
        self._passes: dict[Names, _Passes] = {}

    def content(self, latents: Latents, noise: Noise) -> Content:
        """Return the state after the trunk, as `Synthesis.content` does."""
        if not isinstance(self.synthesis, SynthesisNetwork) or self.synthesis.trunk_blocks == 0:
            return self.synthesis.content(latents, noise)
        codes = latents.sharp().tensors()
        x, img = self._passes_of(self.synthesis, codes).content(*codes.values(), *_flat(noise))
        blocks = self.synthesis.trunk_blocks
        return Content(x, img, latents.ws, noise, blocks, latents.padding, latents.features)

    def image(self, content: Content, q: Tensor | None = None) -> Tensor:
        """Return images `[N, img_channels, R, R]`, as `Synthesis.image` does."""
        is_other = content.z is not None or content.coords is not None
        if not isinstance(self.synthesis, SynthesisNetwork) or is_other:
            return self.synthesis.image(content, q)
        codes = Latents(content.ws, padding=content.padding, features=content.features).tensors()
        passes = self._passes_of(self.synthesis, codes)
        [image] = passes.image(q, content.x, content.img, *codes.values(), *_flat(content.noise))
        assert image is not None, "the last block gives the image"
        return image

    def _passes_of(self, synthesis: SynthesisNetwork, codes: dict[str, Tensor]) -> "_Passes":
        names = tuple(codes)
        if names not in self._passes:
            self._passes[names] = _Passes(synthesis, names, self.calls_before)
        return self._passes[names]


class _Passes:
    """Both passes, for codes whose tensors have these names.

    Attributes:
        content: codes, and the noise of each layer, to the features and the image after the trunk.
        image: the quality code, features, image, codes and noise to the final image.
    """

    def __init__(self, synthesis: SynthesisNetwork, names: Names, calls_before: int):
        self.synthesis = synthesis
        self.names = names
        weights = [*synthesis.parameters(), *synthesis.buffers()]
        self.content = Replayed(self._content_of, weights, calls_before)
        self.image = Replayed(self._image_of, weights, calls_before)

    def _content_of(self, *codes_and_noise: Tensor | None) -> Tensors:
        content = self.synthesis.content(*self._named(codes_and_noise))
        return content.x, content.img

    def _image_of(
        self, q: Tensor | None, x: Tensor | None, img: Tensor | None, *codes_and_noise: Tensor | None
    ) -> Tensors:
        latents, noise = self._named(codes_and_noise)
        blocks = self.synthesis.trunk_blocks
        content = Content(x, img, latents.ws, noise, blocks, latents.padding, latents.features)
        return (self.synthesis.image(content, q),)

    def _named(self, codes_and_noise: Tensors) -> tuple[Latents, Noise]:
        """Return codes as `Latents`, and noise by blocks, as `make_noise` has it."""
        remaining = iter(codes_and_noise)
        codes = {name: tensor for name, tensor in zip(self.names, remaining, strict=False) if tensor is not None}
        blocks = self.synthesis.make_noise("none", 1)
        return Latents.from_tensors(codes), [[next(remaining) for _ in block] for block in blocks]


def _flat(noise: Noise) -> list[Tensor | None]:
    return [layer for block in noise for layer in block]
