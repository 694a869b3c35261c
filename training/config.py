"""The configuration of a training run, from the command line to every constructor.

Each part is frozen and checks itself. `RunConfig` holds what may change when a run is continued; everything else
defines the run.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dnnlib.config import require
from dnnlib.errors import UserError, unknown_name
from networks.config import DiscriminatorConfig, GeneratorConfig
from training.augment.config import PIPES, AugmentPipeConfig

DistillNorm = Literal["relative", "elements", "sum"]  # unit of the distance of Eq. 11

LONGEST_WAIT = 10_000_000  # seconds, four months


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are read."""

    path: str = ""
    resolution: int | None = None  # read from the data when None
    mirror: bool = False
    subset: int | None = None
    use_labels: bool = False
    reals: Literal["sharp", "degraded"] = "sharp"  # what a plain network is trained on; a QC network is on both
    degradation: str = "mixture"  # recipe of the real degraded images
    degrade_on: Literal["auto", "workers", "device"] = "auto"  # auto: the device once a GPU waits for its workers
    degrade_wait: float = 0.1  # share of a tick that auto lets a GPU wait: degrading takes some of the GPU's time, too
    licence: str = ""  # licence of the images, stored in the networks
    subject: str = ""  # what the images show, such as "cat faces", stored in the networks

    def __post_init__(self) -> None:
        require(self.subset is None or self.subset >= 1, "data.subset", self.subset, "at least 1")
        require(0 <= self.degrade_wait <= 1, "data.degrade_wait", self.degrade_wait, "from 0 to 1")


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam (supplement B)."""

    lr: float = 0.0025
    beta1: float = 0.0
    beta2: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        for name in ("lr", "eps"):
            require(getattr(self, name) > 0, f"optimizer.{name}", getattr(self, name), "above 0")
        for name in ("beta1", "beta2"):
            require(0 <= getattr(self, name) < 1, f"optimizer.{name}", getattr(self, name), "from 0 to below 1")


@dataclass(frozen=True)
class LossConfig:
    """Weights and intervals of the loss terms."""

    r1_gamma: float = 1.0
    r1_interval: int = 16  # lazy regularisation of the discriminators: every so many steps
    pl_weight: float = 2.0
    pl_interval: int = 4
    pl_batch_shrink: int = 2
    pl_decay: float = 0.01
    style_mixing_prob: float = 0.9
    distill_weight: float = 3.0  # lambda_KD, supplement B
    content_weight: float = 0.0  # weight of losses.content_loss, which keeps the content of degraded images
    distill_norm: DistillNorm = "relative"  # unit of the distance, see losses.distillation_loss
    share_fakes: bool = False  # D sees the images of G's phase, as in simultaneous updates (Mescheder et al. 2017)

    def __post_init__(self) -> None:
        for name in ("r1_interval", "pl_interval", "pl_batch_shrink"):
            require(getattr(self, name) >= 1, f"loss.{name}", getattr(self, name), "at least 1")
        for name in ("r1_gamma", "pl_weight", "distill_weight", "content_weight"):
            require(getattr(self, name) >= 0, f"loss.{name}", getattr(self, name), "at least 0")
        for name in ("pl_decay", "style_mixing_prob"):
            require(0 <= getattr(self, name) <= 1, f"loss.{name}", getattr(self, name), "from 0 to 1")


@dataclass(frozen=True)
class AugmentConfig:
    """Adaptive discriminator augmentation."""

    mode: Literal["ada", "fixed", "none"] = "ada"
    p: float = 0.0  # strength at the start (ada) or throughout (fixed)
    target: float = 0.6  # mean sign of D(real) that ada aims at, the heuristic's r_t
    interval: int = 4  # steps between adjustments
    kimg: float = 500.0  # how long p takes from 0 to 1 at its fastest
    pipe: str = "bgc"
    pipe_degraded: str | None = None  # pipe of degraded images in qc mode; None: the same
    overrides: AugmentPipeConfig | None = None  # own strengths, instead of `pipe`

    def __post_init__(self) -> None:
        require(0 <= self.p <= 1, "augment.p", self.p, "from 0 to 1")
        require(-1 <= self.target <= 1, "augment.target", self.target, "from -1 to 1")
        for pipe in (self.pipe, self.pipe_degraded):
            if pipe is not None and pipe not in PIPES:
                raise unknown_name("augmentation pipe", pipe, PIPES)
        require(self.interval >= 1, "augment.interval", self.interval, "at least 1")
        require(self.kimg > 0, "augment.kimg", self.kimg, "above 0")


@dataclass(frozen=True)
class EmaConfig:
    """The moving average of the generator's weights."""

    kimg: float = 10.0  # half-life
    rampup: float | None = 0.05  # half-life at most this share of the images seen; None: no ramp-up

    def __post_init__(self) -> None:
        require(self.kimg >= 0, "ema.kimg", self.kimg, "at least 0")
        require(self.rampup is None or self.rampup > 0, "ema.rampup", self.rampup, "above 0, or null for none")


@dataclass(frozen=True)
class RunConfig:
    """How the run is carried out; may differ each time a run is continued."""

    kimg: float = 25000.0
    kimg_per_tick: float = 4.0
    snapshot_ticks: int = 50
    image_ticks: int = 50
    state_ticks: int = 10
    keep_snapshots: int | None = None  # the newest so many networks stay; None: all
    gpus: int = 1
    batch_gpu: int | None = None  # images a process handles at once; None: all of its share
    device: str | None = None  # None: the best there is
    workers: int = 3
    on_bad_image: Literal["fail", "skip"] = "fail"
    allow_data_change: bool = False  # go on although the data are not those of the saved state
    rank_timeout: float = 600.0  # seconds that a process waits for the others before it gives them up
    fused_optimizer: bool = True
    exact_convolutions: bool = False  # torch's own on every processor, see torch_utils.ops.convolutions
    # torch.compile for the passes that are derived once: more images a second on a GPU, minutes until the first. It
    # needs Triton there, and a C++ compiler on a CPU, which gains nothing.
    compile: bool = False
    # CUDA graphs, for the same passes, or (in a run with one process) for whole phases of a step, regularisation,
    # augmentation and optimizer included: more images a second where the batch of a GPU is so small that the host
    # cannot start kernels as fast as they run; seconds until the first image.
    cuda_graphs: Literal["none", "passes", "phases"] = "none"
    log: str = ""  # services that the run is logged to besides TensorBoard: wandb, mlflow, or wandb,mlflow
    tf32: bool | None = None  # what stays float32 computes in tf32; None: beside bf16 or fp16, which are no finer

    def __post_init__(self) -> None:
        require(self.kimg > 0, "kimg", self.kimg, "above 0")
        require(self.kimg_per_tick > 0, "run.kimg_per_tick", self.kimg_per_tick, "above 0")
        require(self.snapshot_ticks >= 1, "run.snapshot_ticks", self.snapshot_ticks, "at least 1")
        require(self.image_ticks >= 1, "run.image_ticks", self.image_ticks, "at least 1")
        require(self.state_ticks >= 1, "run.state_ticks", self.state_ticks, "at least 1")
        keep = self.keep_snapshots
        require(keep is None or keep >= 1, "run.keep_snapshots", keep, "at least 1, or null for all")
        require(self.gpus >= 1, "gpus", self.gpus, "at least 1")
        require(self.workers >= 0, "workers", self.workers, "at least 0")
        is_alone = not self.compile or self.cuda_graphs == "none"
        require(is_alone, "run.cuda_graphs", self.cuda_graphs, "left out with run.compile")
        is_time = 0 < self.rank_timeout <= LONGEST_WAIT
        require(is_time, "run.rank_timeout", self.rank_timeout, f"above 0 and at most {LONGEST_WAIT:,} seconds")


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run."""

    mode: Literal["base", "qc"] = "base"
    init_from: str | None = None
    train_all: bool = False  # qc: train the whole generator, not only the last M blocks (ablation A)
    train_degrad_only: bool = False  # qc: train the DegradBlocks alone, so that sharp images stay the base network's
    batch: int = 32  # over all processes
    seed: int = 0
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer_g: OptimizerConfig = field(default_factory=OptimizerConfig)
    optimizer_d: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        if self.mode == "qc":
            require(self.init_from is not None, "init_from", "null", "a base network in mode qc")
            require(self.generator.quality is not None, "generator.quality", "null", "set in mode qc")
            if self.train_degrad_only:
                self._check_degrad_only()
        else:
            require(self.generator.quality is None, "generator.quality", "set", "left out without --mode=qc")
            require(not self.train_degrad_only, "train_degrad_only", "set", "left out without --mode=qc")
        if self.discriminator.window and not self.train_degrad_only:
            raise UserError(
                f"discriminator.window={self.discriminator.window} judges images by parts, which tells nothing of the "
                "whole; add --mode=qc --degrad-only, or leave it out"
            )

    def _check_degrad_only(self) -> None:
        if self.train_all:
            raise UserError("train_all and train_degrad_only are both set; leave one of them out")
        assert self.generator.quality is not None, "mode qc has a quality code"
        quality = self.generator.quality
        if quality.variant == "released" and quality.injection == "degrad_block":
            raise UserError(
                "train_degrad_only needs DegradBlocks with layers of their own, and those of the variant released are "
                "part of conv1; choose --variant=paper, paper+, pixels or adain"
            )

    @property
    def degrades(self) -> bool:
        """Whether real images are degraded: those of one stream, or all that a plain network is to imitate."""
        return self.mode == "qc" or self.data.reals == "degraded"

    @property
    def streams(self) -> tuple[str, ...]:
        """The kinds of images that are trained, each with its discriminator; those of a plain network are `sharp`."""
        if self.mode == "base":
            return ("sharp",)
        return ("degraded",) if self.train_degrad_only else ("sharp", "degraded")


OF_DEGRADING = ("data.degradation", "data.degrade_on", "data.degrade_wait")
QC_ONLY = (
    *("train_all", "train_degrad_only", "augment.pipe_degraded"),
    *("loss.distill_weight", "loss.distill_norm", "loss.content_weight"),
)


def without_effect(config: TrainConfig) -> dict[str, str]:
    """Return the fields that have no effect on such a run, with what makes them so."""
    fields: dict[str, str] = {}
    if config.mode == "base":
        fields |= dict.fromkeys(QC_ONLY, "--mode=base")
    else:
        fields["data.reals"] = "--mode=qc"
    if not config.degrades:
        fields |= dict.fromkeys(OF_DEGRADING, "--mode=base and without --degradation")
    if config.generator.quality is not None:
        quality = config.generator.quality
        reason = f"generator.quality.injection={quality.injection}"
        fields |= dict.fromkeys((f"generator.quality.{name}" for name in quality.unused), reason)
    if config.generator.kind == "creps":
        fields["generator.architecture"] = "--generator=creps"
    if config.augment.mode == "fixed":
        fields |= dict.fromkeys(("augment.target", "augment.interval", "augment.kimg"), "--aug=fixed")
    if config.augment.mode == "none":
        names = [field.name for field in dataclasses.fields(AugmentConfig) if field.name != "mode"]
        fields |= dict.fromkeys((f"augment.{name}" for name in names), "--aug=none")
    if config.data.degrade_on != "auto":
        fields.setdefault("data.degrade_wait", f"--degrade-on={config.data.degrade_on}")
    return fields


def batch_per_process(config: TrainConfig, processes: int) -> tuple[int, int]:
    """Return (images a process, images it handles at once); raise UserError when they do not divide.

    The minibatch standard deviation looks at groups of images, so a round must hold whole groups.
    """
    batch, batch_gpu = config.batch, config.run.batch_gpu
    if batch % processes:
        lower = batch - batch % processes
        cures = " or ".join(str(n) for n in (lower, lower + processes) if n > 0)
        raise UserError(f"--batch {batch} is not divisible by {processes} GPUs; try {cures}")
    share = batch // processes
    batch_gpu = share if batch_gpu is None else min(batch_gpu, share)
    if batch_gpu < 1 or share % batch_gpu:
        cures = " or ".join(str(n) for n in range(1, share + 1) if share % n == 0)
        raise UserError(f"--batch-gpu {batch_gpu} does not divide the {share} images of each GPU; try {cures}")
    group = config.discriminator.mbstd_group_size
    if group is not None and batch_gpu % min(group, batch_gpu):
        raise UserError(
            f"{batch_gpu} images at once are not divisible by discriminator.mbstd_group_size {group}; "
            f"try --set discriminator.mbstd_group_size={max(n for n in range(1, group) if batch_gpu % n == 0)}"
        )
    return share, batch_gpu


def defining(config: TrainConfig) -> TrainConfig:
    """Return `config` without what may change when a run is continued: devices, and the folders of files."""
    generator, discriminator = config.generator, config.discriminator
    return dataclasses.replace(
        config,
        run=RunConfig(),
        data=dataclasses.replace(config.data, path=Path(config.data.path).name),
        init_from=None if config.init_from is None else Path(config.init_from).name,
        generator=dataclasses.replace(generator, precision=dataclasses.replace(generator.precision, dtype="fp32")),
        discriminator=dataclasses.replace(
            discriminator, precision=dataclasses.replace(discriminator.precision, dtype="fp32")
        ),
    )
