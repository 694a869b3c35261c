"""Random parameters of augmentations, and which images they leave as they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torch_utils.seeding import BatchRandom
from training.augment.config import AugmentPipeConfig


@dataclass(frozen=True)
class Parameter:
    """A random parameter of an augmentation: zero in an image that the augmentation passes by.

    Attributes:
        name: name of the parameter.
        multiplier: what scales the overall probability p.
        strength: factor of what is drawn.
        count: numbers in each image, which share one gate.
        levels: for a choice, how many there are: 0, 1, ...
        exponent: with probability multiplier * p at least one of 1 / exponent such parameters changes an image.
    """

    name: str
    multiplier: float
    strength: float = 1.0
    count: int = 1
    levels: int = 0
    exponent: float = 1.0


def _choices(config: AugmentPipeConfig) -> list[Parameter]:
    """Return what is one of several whole numbers."""
    return [
        Parameter("xflip", config.xflip, levels=2),
        Parameter("rotate90", config.rotate90, levels=4),
        Parameter("lumaflip", config.lumaflip, levels=2),
    ]


def _uniform(config: AugmentPipeConfig) -> list[Parameter]:
    """Return what is uniform, from minus its strength to its strength."""
    return [
        Parameter("xint", config.xint, config.xint_max, count=2),
        # One of two rotations, before and after the anisotropic scaling.
        Parameter("rotate", config.rotate, config.rotate_max, exponent=0.5),
        Parameter("rotate_again", config.rotate, config.rotate_max, exponent=0.5),
        Parameter("hue", config.hue, config.hue_max),
    ]


def _normal(config: AugmentPipeConfig) -> list[Parameter]:
    """Return what is normally distributed; its strength is the standard deviation."""
    return [
        Parameter("scale", config.scale, config.scale_std),
        Parameter("aniso", config.aniso, config.aniso_std),
        Parameter("xfrac", config.xfrac, config.xfrac_std, count=2),
        Parameter("brightness", config.brightness, config.brightness_std),
        Parameter("contrast", config.contrast, config.contrast_std),
        Parameter("saturation", config.saturation, config.saturation_std),
        *(
            Parameter(f"band{band}", config.imgfilter * multiplier, config.imgfilter_std)
            for band, multiplier in enumerate(config.imgfilter_bands)
        ),
    ]


def _half_normal(config: AugmentPipeConfig) -> list[Parameter]:
    """Return what is the magnitude of a normally distributed number."""
    return [Parameter("noise", config.noise, config.noise_std)]


def _fixed(config: AugmentPipeConfig) -> list[Parameter]:
    """Return what is its strength or zero."""
    return [Parameter("cutout", config.cutout, config.cutout_size)]


class Draws:
    """The parameters of all augmentations for a batch of images.

    Args:
        rng: source of draws that belong to no parameter.
        values: `[N, K]`, all parameters.
        places: columns of each parameter.
        debug_percentile: see `ParameterTable`.
    """

    def __init__(self, rng: BatchRandom, values: Tensor, places: dict[str, slice], debug_percentile: float | None):
        self.rng = rng
        self.values = values
        self.places = places
        self.debug_percentile = debug_percentile

    def __getitem__(self, name: str) -> Tensor:
        """Return a parameter, `[N]`, or `[N, count]` where it has several numbers."""
        values = self.values[:, self.places[name]]
        return values[:, 0] if values.shape[1] == 1 else values

    def some(self, names: Sequence[str]) -> Tensor:
        """Return several parameters, one number each, `[N, len(names)]`."""
        return torch.stack([self[name] for name in names], dim=1)

    def active(self, names: Sequence[str]) -> Tensor:
        """Return which images any of these parameters changes, bool `[N]`."""
        return torch.cat([self.values[:, self.places[name]] for name in names], dim=1).any(1)

    def uniform(self, count: int) -> Tensor:
        """Draw `[N, count]` from 0..1, for each image."""
        values = self.rng.rand(count).to(self.values)
        return values if self.debug_percentile is None else torch.full_like(values, self.debug_percentile)


class ParameterTable(nn.Module):
    """Draws the parameters of all augmentations at once.

    What is drawn, and how often, never depends on p: closing a gate replaces a value, it doesn't skip the draw.
    """

    def __init__(self, config: AugmentPipeConfig):
        super().__init__()
        kinds = [kind(config) for kind in (_choices, _uniform, _normal, _half_normal, _fixed)]
        parameters = [parameter for kind in kinds for parameter in kind]
        self.counts = [sum(parameter.count for parameter in kind) for kind in kinds]
        self.gates = len(parameters)
        self.places: dict[str, slice] = {}
        gate_of: list[int] = []
        for gate, parameter in enumerate(parameters):
            self.places[parameter.name] = slice(len(gate_of), len(gate_of) + parameter.count)
            gate_of += [gate] * parameter.count
        self.levels = self._constant("levels", [parameter.levels for parameter in kinds[0]])
        self.multipliers = self._constant("multipliers", [parameter.multiplier for parameter in parameters])
        self.exponents = self._constant("exponents", [parameter.exponent for parameter in parameters])
        self.strengths = self._constant("strengths", [parameters[gate].strength for gate in gate_of])
        self.gate_of = self._constant("gate_of", gate_of)

    def _constant(self, name: str, values: list[float] | list[int]) -> Tensor:
        constant = torch.tensor(values)
        self.register_buffer(name, constant, persistent=False)
        return constant

    def forward(self, rng: BatchRandom, p: Tensor, dtype: torch.dtype, debug_percentile: float | None = None) -> Draws:
        """Draw for a batch of images.

        Args:
            rng: source of every draw.
            p: overall probability, scalar float32.
            dtype: type of the parameters.
            debug_percentile: puts every parameter at this point q of its distribution, with all gates open: uniform
                ones at q, normal ones at erfinv(2q - 1) standard deviations, as the field's reference numbers have it.
        """
        choices, uniform, normal, half_normal, fixed = self.counts
        flat = rng.rand(choices + uniform).to(p.device, dtype)
        bell = rng.randn(normal + half_normal).to(p.device, dtype)
        gates = rng.rand(self.gates).to(p.device)
        is_open = gates < 1 - (1 - self.multipliers * p) ** self.exponents
        magnitudes = bell[:, normal:].abs()
        if debug_percentile is not None:
            flat = torch.full_like(flat, debug_percentile)
            bell = torch.full_like(bell, 2 * debug_percentile - 1).erfinv()
            magnitudes = torch.full_like(magnitudes, debug_percentile).erfinv()
            is_open = (self.multipliers > 0).expand_as(gates).clone()
            is_open[:, self.gate_of[self.places["rotate_again"]]] = False  # which the reference numbers don't have
        drawn = [
            (flat[:, :choices] * self.levels).floor(),
            flat[:, choices:] * 2 - 1,
            bell[:, :normal],
            magnitudes,
            flat.new_ones(len(flat), fixed),
        ]
        values = torch.where(is_open[:, self.gate_of], torch.cat(drawn, dim=1) * self.strengths, 0)
        return Draws(rng, values, self.places, debug_percentile)


def where_active(active: Tensor, transform: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    """Return `transform(images, *parameters)` in the rows where `active [N]` holds, and `images` in the others.

    A CPU computes only the active rows. A GPU computes them all, because its host would have to wait for the count.
    """
    if images.device.type != "cpu":
        return torch.where(active.view(-1, 1, 1, 1), transform(images, *parameters), images)
    rows = active.nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    if len(rows) == len(images):
        return transform(images, *parameters)
    return images.index_copy(0, rows, transform(images[rows], *(values[rows] for values in parameters)))
