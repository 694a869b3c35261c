"""The feature-style encoder: w, and the features of one layer of the generator (Yao et al. 2022)."""

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnnlib.errors import UserError
from generation.rendering import stored_noise
from inversion.encoders.config import SIDES, EncoderNetworkConfig
from metrics.backbones.ir_se50 import Unit
from networks.generators.interface import Generator
from networks.latents import Features, Latents
from torch_utils.purposes import FOR_SPREAD
from torch_utils.seeding import BatchRandom

# Fields of the training that are about this kind alone, and their defaults.
DEFAULTS = {"loss.features": "0.01", "loss.own_features": "0.01", "schedule.blend_kimg": "4"}
# What all ablations begin with: the weights of the paper as far as they are known (identity and parsing besides, for
# faces), as fields of the training.
BASELINE = {
    "loss.scales": "3",
    "loss.features": "0.01",
    **{f"loss.{side}.{name}": value for side in SIDES for name, value in (("l2", "1"), ("perceptual", "0.2"))},
}
# What the ablations of the supplement's Table 1 change, by their letters.
ABLATIONS: dict[str, dict[str, str]] = {
    "G": {},
    "A": {f"loss.{side}.l2": "0" for side in SIDES},
    "B": {f"loss.{side}.identity_layers": "0" for side in SIDES},
    "C": {f"loss.{side}.parsing": "0" for side in SIDES},
    "D": {"loss.scales": "1"} | {f"loss.{side}.perceptual": "0.6" for side in SIDES},
    "E": {"encoder.kind": "psp", "loss.features": "0", "loss.own_features": "0"},
    "F": {"data.own_share": "0"},
}
UNITS = 2
SAMPLES = 256  # images whose features give mean and spread


class FeatureHead(nn.Module):
    """Residual units on a level of the pyramid, and a convolution to the features of layer K.

    The features are offsets from the mean of the generator's own, in units of the spread of each channel; a head that
    nobody has trained gives the mean.

    Args:
        config: the layer, and how the image sees it.
        shape: shape of the features of the layer, `[C, S, S]`.
        width: channels of the pyramid.
        sides: sides of its levels, coarse first.
    """

    def __init__(
        self, config: EncoderNetworkConfig, shape: tuple[int, int, int], width: int, sides: Sequence[int]
    ) -> None:
        super().__init__()
        channels, self.side, _ = shape
        self.layer = config.features.layer
        self.in_image = config.features.in_image
        enough = [(side, level) for level, side in enumerate(sides) if side >= self.side]
        self.level = min(enough)[1] if enough else len(sides) - 1
        self.units = nn.Sequential(*(Unit(width, width, 1) for _ in range(UNITS)))
        self.convolution = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.convolution.weight)
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]  # there is one
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("spread", torch.ones(channels, 1, 1))

    @torch.no_grad()
    def measure(self, G: Generator) -> None:
        """Measure mean and spread of the generator's own features."""
        ws = G.mapping(BatchRandom(FOR_SPREAD, SAMPLES).randn(G.z_dim).to(G.device), G.labels_in_turn(SAMPLES))
        parts = [Latents(part) for part in ws.split(32)]
        own = [G.synthesis.layer_output(part, stored_noise(G, len(part)), self.layer).float() for part in parts]
        features = torch.cat(own)  # [SAMPLES, C, S, S]
        self.mean.copy_(features.mean(0))
        self.spread.copy_((features - self.mean).square().mean((0, 2, 3)).sqrt().clamp(min=1e-8)[:, None, None])

    def add_to(self, latents: Latents, levels: Sequence[Tensor]) -> Latents:
        """Return the codes with the features read from the levels of the pyramid `[N, width, side, side]`."""
        x = self.units(levels[self.level])
        if x.shape[2] > self.side:
            x = F.adaptive_avg_pool2d(x, self.side)
        elif x.shape[2] < self.side:
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear")
        values = self.mean + self.spread * self.convolution(x).float()  # [N, C, S, S]
        return dataclasses.replace(latents, features=Features(values, self.layer, self.in_image))


def build_head(config: EncoderNetworkConfig, G: Generator, width: int, sides: Sequence[int]) -> FeatureHead:
    """Return the head for features; raise UserError for a layer that the network does not have, or inside its head."""
    layer = config.features.layer
    shapes = G.code_shapes()
    shape = shapes.get(f"features.{layer}")
    if shape is None:
        last = max((int(name.split(".")[1]) for name in shapes if name.startswith("features.")), default=0)
        if last == 0:
            raise UserError(f"a network of kind {G.config.kind} has no features to replace; give --kind=psp")
        inside = "inside the quality head" if last < layer < 2 * G.synthesis.num_blocks else "not in this network"
        raise UserError(f"encoder.features.layer is {layer}, {inside}", f"give one from 1 to {last}")
    channels, side, _ = shape
    return FeatureHead(config, (channels, side, side), width, sides)
