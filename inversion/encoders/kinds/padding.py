"""PadInv: w, and what surrounds the features of a generator's first layers (Bai et al. 2022, supplement, Table S1)."""

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnnlib.config import require
from dnnlib.errors import UserError
from inversion.encoders.config import EncoderNetworkConfig
from metrics.backbones.ir_se50 import Unit
from networks.generators.interface import Generator
from networks.latents import Latents, Padding
from torch_utils.ops.rings import crop, ring_of

DEFAULTS: dict[str, str] = {}  # fields of the training that are about this kind alone, and their defaults
BASELINE = {"loss.w_norm": "0", "loss.w_length": "0.003"}  # what all ablations begin with: the weights of the paper
# What the ablations change: no padding space, the constant alone, one map for all layers, and w of any length
# (supplement C).
ABLATIONS: dict[str, dict[str, str]] = {
    "baseline": {},
    "no-padding": {"encoder.kind": "psp"},
    "const": {"encoder.padding.layers": "0"},
    "shared": {"encoder.padding.heads": "shared"},
    "C": {"loss.w_length": "0"},
}
LARGEST_LEVEL = 32  # px, side of the finest level of the pyramid that paddings are read from, as published
UNITS = 2


class PaddingHead(nn.Module):
    """Two residual units on a level of the pyramid, whose enlarged output gives all rings and the constant.

    Args:
        config: which layers are padded, and by which heads.
        G: generator whose layers are padded; only its sizes and its constant are taken over.
        width: channels of the pyramid.
        sides: sides of its levels, coarse first.
    """

    def __init__(self, config: EncoderNetworkConfig, G: Generator, width: int, sides: Sequence[int]) -> None:
        super().__init__()
        self.heads_kind = config.padding.heads
        self.level = max((side, level) for level, side in enumerate(sides) if side <= LARGEST_LEVEL)[1]
        resolutions = [2 ** (2 + number) for number in range(config.padding.layers)]
        self.names = [f"b{resolution}.conv1" for resolution in resolutions]
        self.sides = [resolution + 2 for resolution in resolutions]
        self.side = max([*self.sides, 4])  # side of the enlarged map
        shapes = G.code_shapes()
        channels = [shapes[f"padding.{name}"][0] for name in self.names]
        own = shapes["padding.const"][0]
        self.units = nn.Sequential(*(Unit(width, width, 1) for _ in range(UNITS)))
        self.const_head: nn.Module = nn.Identity()
        self.heads = nn.ModuleList()
        self.const: Tensor
        self.register_buffer("const", torch.zeros(own, 4, 4))
        if self.heads_kind == "residual":
            self.const_head = _silent(nn.Conv2d(width, own, 1))
            self.heads.extend(_silent(nn.Conv2d(width, outputs, 1)) for outputs in channels)
            return
        require(own == width, "encoder.width", config.width, f"such that the pyramid has {own} channels, not {width}")
        if self.heads_kind == "separate":
            self.heads.extend(nn.Conv2d(width, outputs, 1) for outputs in channels)
            return
        same = all(outputs == width for outputs in channels)
        require(same, "encoder.padding.heads", "shared", f"separate, as the padded layers have {channels} channels")
        self.heads.extend(nn.Identity() for _ in channels)

    @torch.no_grad()
    def measure(self, G: Generator) -> None:
        """Take over the constant of the generator, which `residual` heads add to."""
        if self.heads_kind == "residual":
            const = G.synthesis.own_padding().const
            assert const is not None, "a network with places for paddings has a constant"
            self.const.copy_(const[0])

    def enlarge(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the map `[N, width, S, S]` that all paddings come from, as large as the largest with its ring."""
        x = self.units(levels[self.level])
        return F.interpolate(x.float(), size=(self.side, self.side), mode="bicubic", align_corners=True)

    def add_to(self, latents: Latents, levels: Sequence[Tensor]) -> Latents:
        """Return the codes with the paddings read from the levels of the pyramid `[N, width, side, side]`."""
        x = self.enlarge(levels)
        const = self.const + self.const_head(crop(x, 4)).float()  # [N, C, 4, 4]
        rings = {
            name: ring_of(crop(head(x).float(), side))
            for name, head, side in zip(self.names, self.heads, self.sides, strict=True)
        }
        return dataclasses.replace(latents, padding=Padding(const, rings))


def build_head(config: EncoderNetworkConfig, G: Generator, width: int, sides: Sequence[int]) -> PaddingHead:
    """Return the head for paddings; raise UserError for layers that the network does not have."""
    if "padding.const" not in G.code_shapes():
        raise UserError(f"a network of kind {G.config.kind} has no paddings; give --kind=psp")
    layers = config.padding.layers
    places = sum(name.endswith("conv1") for name in G.code_shapes() if name.startswith("padding."))
    require(layers <= places, "encoder.padding.layers", layers, f"at most {places}, as this network has no more")
    return PaddingHead(config, G, width, sides)


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """Return a layer whose output is zero, until it is trained."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None, "layers of heads have a bias"
    nn.init.zeros_(layer.bias)
    return layer
