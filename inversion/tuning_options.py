"""Options of pivotal tuning, and named settings of them."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from dnnlib.config import require


@dataclass(frozen=True)
class TuningOptions:
    """How a generator is tuned for a photo.

    Attributes:
        blocks: how many of the last synthesis blocks are tuned, while what precedes them runs once; None: all, which
            takes twice as long a step, but comes closer both to the photo and to its sharp original.
        steps: steps of Adam, at most.
        lr: learning rate of Adam.
        stop_psnr: PSNR of the reconstruction in dB, at which tuning ends; None: it ends after `steps`.
        stop_perceptual: perceptual distance of the reconstruction, at which tuning ends as well; None: at none.
        pixel_weight: weight of the squared error.
        perceptual_weight: weight of the perceptual distance.
        twin_weight: weight of the squared change of `G(w, q) - G(w, 0)`, which keeps the sharp twin sharp where `q`
            explains the photo, and writes into it what `q` does not explain.
        prior_weight: weight of the squared error of `G(w, 0)` against the restored photo of the untuned generator.
        locality: which other codes are to keep their images, see `inversion.locality`.
        locality_weight: weight of their squared change (Roich et al. 2021, Eq. 5).
        locality_perceptual_weight: weight of their perceptual change.
        locality_reach: where between `w` (0) and a random `w` (1) the codes lie; for `share`.
        locality_codes: how many there are, each regularised step takes one; for `share`.
        locality_distance: distance from `w`, in the direction of a random `w` that is new each time; for `ball`.
        locality_interval: steps from one regularised step to the next; its terms count as many times.
        photos_at_once: how many share a pass through the perceptual network.
        seed: seed of the random codes.
    """

    blocks: int | None = None
    steps: int = 100
    lr: float = 1e-3
    stop_psnr: float | None = 30.0
    stop_perceptual: float | None = None
    pixel_weight: float = 20.0
    perceptual_weight: float = 0.5
    twin_weight: float = 10.0
    prior_weight: float = 0.0
    locality: Literal["share", "ball"] = "share"
    locality_weight: float = 1.0
    locality_perceptual_weight: float = 0.0
    locality_reach: float = 0.5
    locality_codes: int = 4
    locality_distance: float = 30.0
    locality_interval: int = 4
    photos_at_once: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("steps", "lr", "locality_codes", "locality_distance", "locality_interval", "photos_at_once")
        for name in positive:
            require(getattr(self, name) > 0, f"tuning.{name}", getattr(self, name), "above 0")
        for name in (field.name for field in dataclasses.fields(self) if field.name.endswith("_weight")):
            require(getattr(self, name) >= 0, f"tuning.{name}", getattr(self, name), "at least 0")
        require(self.blocks is None or self.blocks >= 1, "tuning.blocks", self.blocks, "at least 1, or null for all")


# Named settings. `paper` is pivotal tuning as published (Roich et al. 2021, section 4 and appendix): its threshold is
# one of LPIPS, so it belongs to --perceptual=lpips_alex; the sharp twin has no term of its own.
TUNINGS = {
    "default": TuningOptions(),
    "paper": TuningOptions(
        steps=500,
        lr=3e-4,
        stop_psnr=None,
        stop_perceptual=0.06,
        pixel_weight=1.0,
        perceptual_weight=1.0,
        twin_weight=0.0,
        locality="ball",
        locality_weight=0.1,
        locality_perceptual_weight=0.1,
        locality_interval=1,
    ),
}
