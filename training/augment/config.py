"""Which augmentations take part, and how strong they are."""

from dataclasses import dataclass, fields
from typing import Any

from dnnlib.config import require


@dataclass(frozen=True)
class AugmentPipeConfig:
    """Settings of the augmentation pipe (Karras et al. 2020, "Training GANs with Limited Data", appendix B).

    A multiplier scales the overall probability p for one augmentation: 0 leaves it out, 1 applies it with
    probability p. The strengths are the paper's. Raises UserError for a multiplier outside 0..1, a negative strength,
    or another number of bands than four.
    """

    # Multipliers: pixel blitting.
    xflip: float = 0.0
    rotate90: float = 0.0
    xint: float = 0.0
    # General geometric transformations.
    scale: float = 0.0
    rotate: float = 0.0
    aniso: float = 0.0
    xfrac: float = 0.0
    # Colour.
    brightness: float = 0.0
    contrast: float = 0.0
    lumaflip: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    # Image-space filtering and corruptions.
    imgfilter: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0

    xint_max: float = 0.125  # share of the width or height
    scale_std: float = 0.2  # octaves
    rotate_max: float = 1.0  # half turns
    aniso_std: float = 0.2  # octaves
    xfrac_std: float = 0.125  # share of the width or height
    brightness_std: float = 0.2
    contrast_std: float = 0.5  # octaves
    hue_max: float = 1.0  # half turns
    saturation_std: float = 1.0  # octaves
    imgfilter_bands: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)  # multipliers from the lowest band to the highest
    imgfilter_std: float = 1.0  # octaves
    noise_std: float = 0.1
    cutout_size: float = 0.5  # share of the width and height

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "imgfilter_bands":
                require(len(value) == 4, field.name, value, "four numbers")
                require(all(0 <= band <= 1 for band in value), field.name, value, "four numbers from 0 to 1")
            elif field.name.endswith(("_std", "_max", "_size")):
                require(0 <= value < float("inf"), field.name, value, "at least 0")
            else:
                require(0 <= value <= 1, field.name, value, "from 0 to 1")


_GROUPS = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "pixels": ("xflip", "rotate90"),  # what keeps white noise white, and JPEG's grid where it is
}


def _pipe(groups: str) -> AugmentPipeConfig:
    multipliers: dict[str, Any] = {name: 1.0 for group in groups.split() for name in _GROUPS[group]}
    return AugmentPipeConfig(**multipliers)


PIPES: dict[str, AugmentPipeConfig] = {group: _pipe(group) for group in _GROUPS} | {
    "bg": _pipe("blit geom"),
    "bgc": _pipe("blit geom color"),
    "bgcf": _pipe("blit geom color filter"),
    "bgcfn": _pipe("blit geom color filter noise"),
    "bgcfnc": _pipe("blit geom color filter noise cutout"),
    "pc": _pipe("pixels color"),
}
