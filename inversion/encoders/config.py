"""Configuration of encoders and of their training; every part is frozen and checks itself.

`EncoderRunConfig` holds what may change when a run is continued; everything else defines the run.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dnnlib.config import require
from dnnlib.errors import UserError, unknown_name
from dnnlib.registry import Registry
from training.config import EmaConfig, OptimizerConfig

BACKBONES = Registry("inversion.encoders.backbones", "backbone")
KINDS = Registry("inversion.encoders.kinds", "kind of encoders")
# Kind of encoders -> the part of `EncoderNetworkConfig` that is about it alone.
KIND_PARTS = {"psp": None, "padding": "padding", "feature-style": "features"}
SIDES = ("degraded", "sharp")  # reconstructions that are compared with photos, fields of `EncoderLossConfig`
SMALLEST = 32  # least input_size
LARGEST = 512  # largest input_size
MULTIPLE = 16  # divides input_size, as the coarsest map has 1/16 of its side


@dataclass(frozen=True)
class PaddingHeadConfig:
    """What an encoder of kind `padding` predicts: the constant, and what surrounds the features of the first layers."""

    layers: int = 4  # how many same-size 3x3 convolutions are padded, from 4x4 on; 0: the constant alone
    # One head for each layer as published, where the constant has none; the same map for all of them (the published
    # default of the command line); or heads for layers and constant that begin with those of the generator.
    heads: Literal["residual", "separate", "shared"] = "residual"

    def __post_init__(self) -> None:
        require(0 <= self.layers <= 5, "encoder.padding.layers", self.layers, "from 0 to 5")


@dataclass(frozen=True)
class FeatureHeadConfig:
    """What an encoder of kind `feature-style` predicts: the output of one layer."""

    layer: int = 5  # K; styled 3x3 convolutions count from 1, so that 5 is the second of 16x16
    in_image: bool = False  # whether the image layer of the same resolution sees the features, too

    def __post_init__(self) -> None:
        require(self.layer >= 1, "encoder.features.layer", self.layer, "at least 1")


@dataclass(frozen=True)
class EncoderNetworkConfig:
    """The two networks, for w and for q."""

    kind: Literal["psp", "padding", "feature-style"] = "psp"  # what is predicted besides w and q, see `kinds`
    backbone: str = "ir_se50"
    width: float = 1.0  # factor of all channels of w's network
    q_width: float = 1.0  # factor of all channels of q's network; 0: there is none, and q is fitted to each photo
    q_input: Literal["images", "traces"] = "images"  # what q's network reads, by a backbone or by a small perceptron
    space: Literal["w", "w+"] = "w+"  # one w for all layers, or one for each
    heads: Literal["separate", "shared"] = "separate"  # one for each w, as published, or for all that read one map
    input_size: int = 256  # side that images are resized to
    slope: float = 0.2  # slope of the heads' leaky ReLU below zero; 0.01 in published encoders
    align_corners: bool = False  # how the feature pyramid enlarges maps; True in published encoders
    padding: PaddingHeadConfig = field(default_factory=PaddingHeadConfig)  # for the kind `padding`
    features: FeatureHeadConfig = field(default_factory=FeatureHeadConfig)  # for the kind `feature-style`

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES.names():
            raise unknown_name("backbone", self.backbone, BACKBONES.names())
        require(0 < self.width <= 4, "encoder.width", self.width, "above 0 and at most 4")
        require(0 <= self.q_width <= 4, "encoder.q_width", self.q_width, "from 0 to 4")
        size = self.input_size
        fits = SMALLEST <= size <= LARGEST and size % MULTIPLE == 0
        require(fits, "encoder.input_size", size, f"a multiple of {MULTIPLE} from {SMALLEST} to {LARGEST}")


@dataclass(frozen=True)
class EncoderDataConfig:
    """The images that an encoder is trained on."""

    path: str = ""
    mirror: bool = False
    subset: int | None = None
    degradation: str | None = None  # recipe that makes the degraded photos; None: they stay sharp
    own_share: float = 0.25  # share of a batch that are samples of the generator itself, whose codes are known
    sharp_share: float = 0.15  # share of inputs that stay sharp, so that q of a sharp image is predicted near zero
    licence: str = ""  # licence of the photos, stored in the encoder's header

    def __post_init__(self) -> None:
        require(self.subset is None or self.subset >= 1, "data.subset", self.subset, "at least 1")
        require(0 <= self.own_share < 1, "data.own_share", self.own_share, "from 0 to below 1")
        require(0 <= self.sharp_share <= 1, "data.sharp_share", self.sharp_share, "from 0 to 1")


@dataclass(frozen=True)
class SideWeights:
    """Weights of the distances of one reconstruction, the degraded or the sharp one (pSp, Eq. 6)."""

    l2: float = 1.0
    perceptual: float = 0.8
    identity: float = 0.0  # 0.1 suits faces; needs the published ArcFace weights
    identity_layers: float = 0.0  # the same over five layers (feature-style, Eq. 6), in its place
    parsing: float = 0.0  # 0.1 suits faces; needs the published BiSeNet weights (feature-style, Eq. 7)

    def __post_init__(self) -> None:
        for name in ("l2", "perceptual", "identity", "identity_layers", "parsing"):
            require(getattr(self, name) >= 0, f"loss weight {name}", getattr(self, name), "at least 0")


@dataclass(frozen=True)
class EncoderLossConfig:
    """Weights of the loss terms."""

    degraded: SideWeights = field(default_factory=SideWeights)  # G(w, q) against the degraded photo
    sharp: SideWeights = field(default_factory=SideWeights)  # G(w, 0) against the sharp photo
    perceptual: Literal["cifar", "lpips_alex"] = "cifar"  # detector that computes perceptual distances
    w_norm: float = 0.005  # distance of w from w_avg
    own_w: float = 0.1  # distance of w from the known one, on own samples
    own_q: float = 0.1  # distance of q from the known one, on own samples
    traces: float = 0.05  # distance of the traces of degradations, on photos; with `quality_only`
    adversarial: float = 0.0  # for sharp reconstructions; 0.03 to 0.05 suits scenes (PadInv), 0: no discriminator
    w_length: float = 0.0  # length of ws - w_avg, not squared (padding space, Eq. 5); published: 0.003, without w_norm
    features: float = 0.0  # distance of features from those that w makes (feature-style, Eq. 4)
    own_features: float = 0.0  # distance of features from those that the known w makes, on own samples
    scales: int = 1  # how many times perceptual distances are taken, each at half the side (feature-style, Eq. 3: 3)

    def __post_init__(self) -> None:
        require(1 <= self.scales <= 4, "loss.scales", self.scales, "from 1 to 4")
        for name in ("w_norm", "own_w", "own_q", "traces", "adversarial", "w_length", "features", "own_features"):
            require(getattr(self, name) >= 0, f"loss.{name}", getattr(self, name), "at least 0")


@dataclass(frozen=True)
class AdversaryConfig:
    """The discriminator of the adversarial term, which tells sharp reconstructions from photos (padding space)."""

    r1_gamma: float = 10.0
    r1_interval: int = 16  # steps between two penalties
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-4, beta1=0.9, beta2=0.99))

    def __post_init__(self) -> None:
        require(self.r1_gamma >= 0, "adversary.r1_gamma", self.r1_gamma, "at least 0")
        require(self.r1_interval >= 1, "adversary.r1_interval", self.r1_interval, "at least 1")


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate: a linear rise, then half a cosine down to `final` at the end of the run."""

    warmup_kimg: float = 2.0
    final: float = 0.02  # share of the learning rate at the end
    blend_kimg: float = 0.0  # over which predicted features come in place of those that w makes (feature-style)

    def __post_init__(self) -> None:
        require(self.blend_kimg >= 0, "schedule.blend_kimg", self.blend_kimg, "at least 0")
        require(self.warmup_kimg >= 0, "schedule.warmup_kimg", self.warmup_kimg, "at least 0")
        require(0 <= self.final <= 1, "schedule.final", self.final, "from 0 to 1")


@dataclass(frozen=True)
class EncoderRunConfig:
    """How the run is carried out; may differ each time a run is continued."""

    kimg: float = 2000.0
    kimg_per_tick: float = 4.0
    snapshot_ticks: int = 50
    image_ticks: int = 25
    state_ticks: int = 5
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 3
    gpus: int = 1  # processes that share each batch
    device: str | None = None  # None: the best there is
    on_bad_image: Literal["fail", "skip"] = "fail"
    allow_data_change: bool = False  # go on although the photos are not those of the saved state
    log: str = ""  # services that the run is logged to besides TensorBoard: wandb, mlflow, or wandb,mlflow

    def __post_init__(self) -> None:
        for name in ("kimg", "kimg_per_tick"):
            require(getattr(self, name) > 0, f"run.{name}", getattr(self, name), "above 0")
        for name in ("snapshot_ticks", "image_ticks", "state_ticks"):
            require(getattr(self, name) >= 1, f"run.{name}", getattr(self, name), "at least 1")
        require(self.workers >= 0, "run.workers", self.workers, "at least 0")
        require(self.gpus >= 1, "run.gpus", self.gpus, "at least 1")


@dataclass(frozen=True)
class EncoderConfig:
    """A whole training of an encoder."""

    generator: str = ""  # file of the network that is inverted; the network is frozen
    init_from: str | None = None  # file of an encoder whose weights this one begins with
    batch: int = 8
    seed: int = 0
    arcface: bool = False  # begin with the published ArcFace weights
    quality_only: bool = False  # train the network for q alone, beside the content of `init_from`
    encoder: EncoderNetworkConfig = field(default_factory=EncoderNetworkConfig)
    data: EncoderDataConfig = field(default_factory=EncoderDataConfig)
    loss: EncoderLossConfig = field(default_factory=EncoderLossConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=3e-4, beta1=0.9, beta2=0.99))
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: EmaConfig = field(default_factory=lambda: EmaConfig(kimg=5.0))
    run: EncoderRunConfig = field(default_factory=EncoderRunConfig)

    def __post_init__(self) -> None:
        require(self.batch >= 2, "batch", self.batch, "at least 2, as batch normalisation compares images")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        if self.quality_only and self.init_from is None:
            raise UserError("--quality-only trains beside an encoder of content; give that one by --init-from=ENCODER")
        require(self.photos >= 1, "data.own_share", self.data.own_share, f"less, so that {self.batch} hold a photo")

    @property
    def own_samples(self) -> int:
        """Number of images of a batch that are samples of the generator."""
        return round(self.batch * self.data.own_share)

    @property
    def photos(self) -> int:
        """Number of images of a batch that are photos."""
        return self.batch - self.own_samples


def defining(config: EncoderConfig) -> EncoderConfig:
    """Return `config` without the settings that may change when a run is continued: `run`, and the folders of files."""
    data = dataclasses.replace(config.data, path=Path(config.data.path).name)
    init_from = None if config.init_from is None else Path(config.init_from).name
    generator = Path(config.generator).name
    return dataclasses.replace(config, run=EncoderRunConfig(), data=data, generator=generator, init_from=init_from)
