"""Encoders: images to codes w and q in one pass (paper, section 3.4, stage 1), with the networks of pSp."""

import dataclasses
from collections.abc import Sequence
from types import ModuleType
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inversion.encoders.config import BACKBONES, KINDS, EncoderNetworkConfig
from inversion.encoders.heads import StylePyramid
from inversion.quality.trace_network import TraceNetwork
from metrics.weights.directory import WeightsDirectory
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.purposes import FOR_SPREAD
from torch_utils.seeding import BatchRandom

STRIDES = (4, 8, 16)  # pixels of the image to one of each of a backbone's maps
SPREAD_SAMPLES = 1000  # sampled w from which the spread of w is measured


class Backbone(Protocol):
    """A network that maps images to features.

    Attributes:
        channels: channels of its maps, finest first.
    """

    channels: tuple[int, ...]

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return maps with 1/4, 1/8 and 1/16 of the side of images `[N, C, S, S]` in [-1, 1]."""
        ...


class CodeNetwork(nn.Module):
    """A backbone and the heads on it: images `[N, C, S, S]` to `[N, count, features]`."""

    def __init__(self, backbone: Backbone, config: EncoderNetworkConfig, count: int, features: int) -> None:
        super().__init__()
        self.backbone = backbone
        sides = [config.input_size // stride for stride in STRIDES]
        self.heads = StylePyramid(
            backbone.channels, sides, count, features, config.slope, config.align_corners, config.heads == "shared"
        )

    def levels(self, images: Tensor) -> list[Tensor]:
        """Return the levels of the feature pyramid, `[N, width, side, side]`, coarse first."""
        return self.heads.levels(self.backbone.maps(images))

    def forward(self, images: Tensor) -> Tensor:
        """Return codes float32 `[N, count, features]` of images `[N, C, S, S]` in [-1, 1]."""
        return self.heads.codes(self.levels(images)).float()  # [N, count, features]


class SpatialHead(Protocol):
    """What an encoder of another kind than `psp` predicts besides w, from the feature pyramid of w's network."""

    def measure(self, G: Generator) -> None:
        """Measure in the generator what predictions are offsets from."""
        ...

    def add_to(self, latents: Latents, levels: Sequence[Tensor]) -> Latents:
        """Return the codes with what is predicted from the levels `[N, width, side, side]`, coarse first."""
        ...


class Encoder(nn.Module):
    """Two networks, one for w and one for q, or only the first; on the first may stand a head for paddings or features.

    Args:
        config: configuration of both networks.
        G: generator whose codes are predicted; only its widths and its `w_avg` are taken over.
        published: directory of the ArcFace weights that backbones begin with; None: fresh weights.
    """

    def __init__(self, config: EncoderNetworkConfig, G: Generator, published: WeightsDirectory | None = None) -> None:
        super().__init__()
        self.config = config
        self.num_ws = G.num_ws
        build_backbone = BACKBONES.get(config.backbone).build_backbone
        count = 1 if config.space == "w" else G.num_ws
        self.content = CodeNetwork(build_backbone(G.img_channels, config.width, published), config, count, G.w_dim)
        width = self.content.backbone.channels[-1]
        levels = [config.input_size // stride for stride in reversed(STRIDES)][: len(self.content.heads.heads)]
        self.spatial: SpatialHead | None = kind_module(config.kind).build_head(config, G, width, levels)
        self.quality: CodeNetwork | TraceNetwork | None = None
        if G.q_dim > 0 and config.q_width > 0:
            if config.q_input == "traces":
                self.quality = TraceNetwork(G, config.q_width)
            else:
                backbone = build_backbone(G.img_channels, config.q_width, published)
                self.quality = CodeNetwork(backbone, config, 1, G.q_dim)
        self.w_avg: Tensor
        self.w_spread: Tensor
        self.register_buffer("w_avg", G.mapping.w_avg.detach().clone())
        self.register_buffer("w_spread", torch.ones([]))  # standard deviation of w around w_avg

    def forward(self, images: Tensor) -> Latents:
        """Return the codes of images `[N, C, R, R]` in [-1, 1]; any side R."""
        return dataclasses.replace(self.content_codes(images), q=self.quality_codes(images))

    def content_codes(self, images: Tensor) -> Latents:
        """Return the codes of images `[N, C, R, R]` in [-1, 1] without `q`."""
        levels = self.content.levels(self._resized(images))
        offsets = self.content.heads.codes(levels).float()  # [N, 1 or num_ws, w_dim]
        ws = self.w_avg + self.w_spread * offsets.expand(-1, self.num_ws, -1)  # [N, num_ws, w_dim]
        return Latents(ws) if self.spatial is None else self.spatial.add_to(Latents(ws), levels)

    def quality_codes(self, images: Tensor) -> Tensor | None:
        """Return the quality codes `[N, q_dim]` of images `[N, C, R, R]` in [-1, 1]; None where none are told."""
        if self.quality is None:
            return None
        return self.quality(self._resized(images) if self.config.q_input == "images" else images)[:, 0]

    def _resized(self, images: Tensor) -> Tensor:
        """Return images of the side that the networks take, channels last."""
        side = self.config.input_size
        if images.shape[2:] != (side, side):
            images = F.interpolate(images, size=(side, side), mode="area")
        return images.contiguous(memory_format=torch.channels_last)

    @property
    def side(self) -> int:
        """The side of images of which all is seen: that of w's network, or, where q's reads traces, G's own."""
        return self.quality.resolution if isinstance(self.quality, TraceNetwork) else self.config.input_size

    def freeze_content(self) -> None:
        """Leave all but the network for q as it is: neither its weights nor its running means change."""
        assert self.quality is not None, "an encoder whose content is frozen has a network for q"
        self.requires_grad_(False).eval()
        self.quality.requires_grad_(True).train()

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training changes, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}


def build_encoder(config: EncoderNetworkConfig, G: Generator, published: WeightsDirectory | None = None) -> Encoder:
    """Return an encoder for the generator, with fresh weights from torch's global random state, on G's device.

    With `published`, backbones begin with ArcFace's weights. Raises UserError when the backbone does not come in the
    configured width, and when there are no such weights.
    """
    encoder = Encoder(config, G, published).to(G.device)
    encoder.w_spread.copy_(spread_of_w(G))
    if encoder.spatial is not None:
        encoder.spatial.measure(G)
    if isinstance(encoder.quality, TraceNetwork):
        encoder.quality.measure(G)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    return encoder


def kind_module(kind: str) -> ModuleType:
    """Return the module of a kind of encoders, such as `feature-style`."""
    return KINDS.get(kind.replace("-", "_"))


@torch.no_grad()
def spread_of_w(G: Generator) -> Tensor:
    """Return the root mean square, over elements, of w - w_avg."""
    rng = BatchRandom(FOR_SPREAD, SPREAD_SAMPLES)
    z = rng.randn(G.z_dim).to(G.device)
    w = G.mapping(z, random_classes(G, rng))[:, 0]  # [N, w_dim]
    return (w - G.mapping.w_avg).square().mean().sqrt().clamp(min=1e-8)


def random_classes(G: Generator, rng: BatchRandom) -> Tensor | None:
    """Return a random class of each row as `[N, c_dim]`, one-hot; None for an unconditional generator."""
    if G.c_dim == 0:
        return None
    return G.one_hot(rng.randint(0, G.c_dim).to(G.device))
