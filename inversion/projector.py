"""Stage 1 without an encoder: find `w` and `q` of photos by gradient descent."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from dnnlib.config import require
from generation.rendering import stored_noise
from inversion.adam import Adam
from inversion.perceptual import Perceptual, ReconstructionLoss, default_perceptual
from inversion.whitened_space import WhitenedSpace
from networks.generators.interface import Content, Generator
from networks.latents import Latents
from torch_utils.purposes import FOR_PROJECTOR
from torch_utils.seeding import BatchRandom

SMALL = 0.1  # spread of the first code tried: near the sharp image, where the gradient depends on the direction


@dataclass(frozen=True)
class ProjectorOptions:
    """How `w` and `q` are found.

    Attributes:
        space: one `w` for all layers, or each layer its own.
        whitened: whether coordinates are those in which the mapping's output is about N(0, I), or those of W itself
            but for their unit, as StyleGAN2's projector and PTI have them.
        steps: steps of Adam.
        lr: learning rate of Adam for `w`, in standard deviations of the mapping's output.
        q_lr: learning rate of Adam for `q`.
        warm_up: share of the steps over which the learning rates rise; they fall as a cosine over all of them.
        settle: share of the steps that look for `w` with a sharp image, before `q` starts; none after an encoder.
        q_starts: codes from N(0, I) that are tried beside a small one as the start of `q`.
        pixel_weight: weight of the squared error.
        perceptual_weight: weight of the perceptual distance.
        prior_weight: weight of the mean square of `w` in standard deviations, which keeps the sharp image natural.
        spread_weight: weight of the mean square of the layers' deviations from their mean, in the same unit.
        q_weight: weight of the mean square of `q`, which is drawn from N(0, I) in training.
        features_lr: learning rate of Adam for the features of codes to start at that have some; 0: they stay.
        features_weight: weight of the mean square of these features' difference from those that `w` would make.
        seed: seed of the starting points.
    """

    space: Literal["w", "w+"] = "w+"
    whitened: bool = True
    steps: int = 150
    lr: float = 0.2
    q_lr: float = 0.1
    warm_up: float = 0.05
    settle: float = 0.3
    q_starts: int = 16
    pixel_weight: float = 20.0
    perceptual_weight: float = 0.5
    prior_weight: float = 0.1
    spread_weight: float = 0.1
    q_weight: float = 0.0
    features_lr: float = 0.0
    features_weight: float = 0.2  # Yao et al. 2022, Eq. 4: lambda_2 = 0.01 beside a squared error of weight 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "lr", "q_lr"):
            require(getattr(self, name) > 0, f"projector.{name}", getattr(self, name), "above 0")
        for name in ("warm_up", "settle"):
            require(0 <= getattr(self, name) < 1, f"projector.{name}", getattr(self, name), "from 0 to below 1")
        weights = ("pixel_weight", "perceptual_weight", "prior_weight", "spread_weight", "q_weight", "features_weight")
        for name in ("q_starts", "features_lr", *weights):
            require(getattr(self, name) >= 0, f"projector.{name}", getattr(self, name), "at least 0")


def project(
    G: Generator,
    targets: Tensor,
    options: ProjectorOptions | None = None,
    perceptual: Perceptual | None = None,
    start: Latents | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    space: WhitenedSpace | None = None,
) -> Latents:
    """Return codes whose images are close to the targets and whose sharp images stay natural.

    `w` is sought in whitened coordinates, unless the options want others, so that a step is as long in every direction
    and a mean square tells how unusual an image is. No photo depends on what else is in the batch. The network's noise
    is the stored one.

    Args:
        G: frozen; a plain generator has no `q`, and its codes have none.
        targets: float `[N, C, R, R]` in [-1, 1].
        options: defaults where None.
        perceptual: distance to the targets; None: the embedded one.
        start: codes to start at, such as an encoder's; None: the mean image. Its paddings and features are kept.
        on_step: called with the number of steps taken.
        space: whitened space of `G`; None: it is measured.
    """
    options = options or ProjectorOptions()
    has_features = start is not None and start.features is not None
    assert options.features_lr == 0 or has_features, "there are no features to start at, for features_lr to move"
    perceptual = perceptual or default_perceptual(targets.device)
    loss = ReconstructionLoss(targets, perceptual, options.pixel_weight, options.perceptual_weight)
    search = _Search(G, loss, options, start, space or search_space(G, options))
    q_step = round(options.settle * options.steps) if start is None else 0
    for step in range(options.steps):
        if step == q_step and G.q_dim > 0:
            search.start_quality(None if start is None else start.q)
        search.step(_rate((step + 1) / options.steps, options.warm_up))
        on_step(step + 1)
    return search.latents()


def search_space(G: Generator, options: ProjectorOptions) -> WhitenedSpace:
    """Return the coordinates in which `w` is sought."""
    return WhitenedSpace.of(G) if options.whitened else WhitenedSpace.unwhitened(G)


def _rate(done: float, warm_up: float) -> float:
    """Return the factor of the learning rates when a share `done` of the steps, this one included, is over."""
    rise = min(1.0, done / warm_up) if warm_up > 0 else 1.0
    return rise * 0.5 * (1 + math.cos(math.pi * done))


class _Search:
    """The codes of a batch on their way to the targets of `loss`."""

    def __init__(
        self,
        G: Generator,
        loss: ReconstructionLoss,
        options: ProjectorOptions,
        start: Latents | None,
        space: WhitenedSpace,
    ):
        self.G = G
        self.loss = loss
        self.options = options
        self.space = space
        layers = G.num_ws if options.space == "w+" else 1
        if start is None:
            ws = self.space.w_avg.expand(len(loss.targets), layers, -1)
        else:
            ws = start.ws if layers > 1 else start.ws.mean(1, keepdim=True)
        self.v = self.space.from_w(ws).requires_grad_(True)  # [N, num_ws or 1, w_dim]
        self.q: Tensor | None = None  # [N, q_dim]
        self.padding = None if start is None else start.padding
        self.features = None if start is None else start.features
        self.optimizer = Adam(betas=(0.9, 0.99))
        self.optimizer.add([self.v], options.lr)
        if self.features is not None and options.features_lr > 0:
            values = self.features.values.detach().clone().requires_grad_(True)
            self.features = replace(self.features, values=values)
            self.optimizer.add([values], options.features_lr)

    def latents(self) -> Latents:
        """Return the codes as they are."""
        return self._codes().detach()

    def _codes(self) -> Latents:
        ws = self.space.to_w(self.v).expand(-1, self.G.num_ws, -1)
        return Latents(ws, q=self.q, padding=self.padding, features=self.features)

    @torch.no_grad()
    def start_quality(self, given: Tensor | None) -> None:
        """Start `q` at the given codes, where they are zero at a small one, else at the best of those tried."""
        q = self._best_codes() if given is None else given
        # Zero has no gradient.
        q = torch.where(q.any(1, keepdim=True), q, self._codes_to_try()[0])
        self.q = q.clone().requires_grad_(True)
        self.optimizer.add([self.q], self.options.q_lr)

    def step(self, rate: float) -> None:
        """Take one step of Adam, with the learning rates times `rate`."""
        codes = self._codes()
        images = self.G.synthesis.image(self._content(codes), self.q)
        loss = self.loss(images) + self._prior() + self._features_term(codes)
        self.optimizer.step(torch.autograd.grad(loss.sum(), self.optimizer.leaves), rate)

    def _prior(self) -> Tensor:
        """Return how unusual the codes are, `[N]`, weighed."""
        options = self.options
        spread = (self.v - self.v.mean(1, keepdim=True)).square().mean((1, 2))
        prior = options.prior_weight * self.v.square().mean((1, 2)) + options.spread_weight * spread
        return prior if self.q is None else prior + options.q_weight * self.q.square().mean(1)

    def _features_term(self, codes: Latents) -> Tensor | float:
        """Return how far features are from the network's own, `[N]`, weighed (Yao et al. 2022, Eq. 4)."""
        features, weight = codes.features, self.options.features_weight
        if features is None or weight == 0:
            return 0.0
        own = self.G.synthesis.layer_output(codes, stored_noise(self.G, len(codes)), features.layer)
        return weight * (features.values - own).square().mean((1, 2, 3))

    def _content(self, codes: Latents) -> Content:
        return self.G.synthesis.content(codes, stored_noise(self.G, len(codes)))

    def _codes_to_try(self) -> Tensor:
        """Return `[1 + q_starts, q_dim]`, the same for every photo: a small one, then those of N(0, I)."""
        codes = BatchRandom((self.options.seed, FOR_PROJECTOR), 1 + self.options.q_starts).randn(self.G.q_dim)
        return torch.cat([SMALL * codes[:1], codes[1:]]).to(self.v.device)

    def _best_codes(self) -> Tensor:
        """Return for each photo the code tried that gives the smallest loss, `[N, q_dim]`."""
        codes = self._codes_to_try()  # [1 + q_starts, q_dim]
        latents = self.latents()
        content = self._content(latents)
        losses = []
        for q in codes:
            images = self.G.synthesis.image(content, q.expand(len(latents), -1))
            losses.append(self.loss(images))
        return codes[torch.stack(losses).argmin(0)]
