"""Stage 2, pivotal tuning: the generator is tuned around a photo's codes (Roich et al. 2021; paper, section 3.4)."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from dnnlib.config import require
from generation.rendering import stored_noise
from images.ranges import to_levels
from inversion.perceptual import Perceptual, ReconstructionLoss, default_perceptual
from inversion.tuned_weights import TunedWeights
from metrics.distances.pixels import psnr
from networks.generators.interface import Generator, SynthesisPart
from networks.latents import Latents
from torch_utils.purposes import FOR_LOCALITY
from torch_utils.seeding import BatchRandom


@dataclass(frozen=True)
class TuningOptions:
    """How a generator is tuned for a photo.

    Attributes:
        blocks: how many of the last synthesis blocks are tuned, while what precedes them runs once; None: all, which
            takes twice as long a step, but comes closer both to the photo and to its sharp original.
        steps: of Adam, at most.
        lr: of Adam.
        stop_psnr: of the reconstruction in dB, at which tuning ends; None: it ends after `steps`.
        pixel_weight: of the squared error.
        perceptual_weight: of the perceptual distance.
        twin_weight: of the squared change of `G(w, q) - G(w, 0)`, which keeps the sharp twin sharp.
        locality_weight: of the squared change of images at other codes (Roich et al. 2021, Eq. 5).
        locality_reach: where between `w` (0) and a random `w` (1) those codes lie.
        locality_codes: how many there are; each regularised step takes one.
        locality_interval: steps from one regularised step to the next; its term counts as many times.
        photos_at_once: how many share a pass through the perceptual network.
        seed: of the random codes.
    """

    blocks: int | None = None
    steps: int = 100
    lr: float = 1e-3
    stop_psnr: float | None = 30.0
    pixel_weight: float = 20.0
    perceptual_weight: float = 0.5
    twin_weight: float = 10.0
    locality_weight: float = 1.0
    locality_reach: float = 0.5
    locality_codes: int = 4
    locality_interval: int = 4
    photos_at_once: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "lr", "locality_codes", "locality_interval", "photos_at_once"):
            require(getattr(self, name) > 0, f"tuning.{name}", getattr(self, name), "above 0")
        for name in ("pixel_weight", "perceptual_weight", "twin_weight", "locality_weight"):
            require(getattr(self, name) >= 0, f"tuning.{name}", getattr(self, name), "at least 0")
        require(self.blocks is None or self.blocks >= 1, "tuning.blocks", self.blocks, "at least 1, or null for all")


def tune(
    G: Generator,
    latents: Latents,
    targets: Tensor,
    options: TuningOptions | None = None,
    perceptual: Perceptual | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> list[TunedWeights]:
    """Return, for each photo, the weights with which its codes give the photo.

    `G` stays as it is. No photo depends on what else is in the batch. The network's noise is the stored one.

    Args:
        G: frozen; a plain generator where `latents` has no `q`.
        latents: of the photos.
        targets: float `[N, C, R, R]` in [-1, 1].
        options: defaults where None.
        perceptual: distance to the targets; None: the embedded one.
        on_step: called with the steps done, of `N * options.steps` over all photos; those saved count as done.
    """
    options = options or TuningOptions()
    perceptual = perceptual or default_perceptual(targets.device)
    others = _random_ws(G, options).to(targets.device)
    tuned, done = [], 0
    for first in range(0, len(latents), options.photos_at_once):
        rows = range(first, min(first + options.photos_at_once, len(latents)))
        photos = [_Photo(G, latents.row(row), targets[row : row + 1], others, options) for row in rows]
        for steps in _tune_together(photos, perceptual, options):
            done += steps
            on_step(done)
        tuned += [TunedWeights.between(G, photo.weights) for photo in photos]
    return tuned


def _tune_together(photos: list["_Photo"], perceptual: Perceptual, options: TuningOptions) -> Iterator[int]:
    """Tune each photo's weights until its reconstruction is good enough; yield how many steps are done or saved.

    The perceptual network, the same for all, sees the photos as one batch.
    """
    loss = None
    for step in range(options.steps):
        images = [photo.images() for photo in photos]
        unfinished = [k for k, photo in enumerate(photos) if not photo.is_reached(images[k])]
        if len(unfinished) < len(photos):
            yield (len(photos) - len(unfinished)) * (options.steps - step)
            photos, images, loss = [photos[k] for k in unfinished], [images[k] for k in unfinished], None
        if not photos:
            return
        if loss is None:
            targets = torch.cat([photo.target for photo in photos])
            loss = ReconstructionLoss(targets, perceptual, options.pixel_weight, options.perceptual_weight)
        total = loss(torch.cat([pair[-1:] for pair in images])).sum()
        for photo, pair in zip(photos, images, strict=True):
            total = total + photo.twin_term(pair) + photo.locality_term(step)
        total.backward()
        for photo in photos:
            photo.optimizer.step()
            photo.optimizer.zero_grad()
        yield len(photos)


class _Photo:
    """One photo: its codes, and its own weights of the last blocks."""

    def __init__(self, G: Generator, latents: Latents, target: Tensor, others: Tensor, options: TuningOptions):
        self.target = target
        self.options = options
        frozen, self.blocks = G.synthesis.parts(options.blocks)
        self.pivot = _Codes(G, frozen, self.blocks, latents)
        self.around: list[_Codes] = []
        if options.locality_weight > 0:
            around = latents.ws.lerp(others, options.locality_reach)  # [locality_codes, num_ws, w_dim]
            codes = [dataclasses.replace(latents, ws=ws[None]) for ws in around]
            self.around = [_Codes(G, frozen, self.blocks, one) for one in codes]
        self.weights = {
            name: parameter.detach().clone().requires_grad_(True)
            for name, parameter in self.blocks.own_parameters().items()
        }
        self.optimizer = torch.optim.Adam(self.weights.values(), lr=options.lr)

    def images(self) -> Tensor:
        """Return the images at the pivot, `[1 or 2, C, R, R]`: the sharp one where there is a `q`, then the other."""
        return self.pivot.images(self.blocks, self.weights)

    def is_reached(self, images: Tensor) -> bool:
        """Return whether the reconstruction is good enough."""
        if self.options.stop_psnr is None:
            return False
        pair = [to_levels(image.detach().clamp(-1, 1), shift_first=True) for image in (images[-1:], self.target)]
        return psnr(*pair).item() >= self.options.stop_psnr

    def twin_term(self, images: Tensor) -> Tensor:
        """Return how much the difference between degraded and sharp image has changed, weighed."""
        if len(images) == 1:
            return images.new_zeros([])
        change = _difference(images) - _difference(self.pivot.originals)
        return self.options.twin_weight * change.square().mean()

    def locality_term(self, step: int) -> Tensor:
        """Return how much the images at one of the other codes have changed, weighed; 0 in the steps between."""
        interval = self.options.locality_interval
        if not self.around or step % interval:
            return self.target.new_zeros([])
        codes = self.around[step // interval % len(self.around)]
        change = codes.images(self.blocks, self.weights) - codes.originals
        return self.options.locality_weight * interval * change.square().mean()


class _Codes:
    """Codes of one image, what the frozen blocks make of them, and their images before anything is tuned."""

    @torch.no_grad()
    def __init__(self, G: Generator, frozen: SynthesisPart, tuned: SynthesisPart, latents: Latents):
        start = G.synthesis.content(latents, stored_noise(G, len(latents)), blocks=0)
        self.q = latents.q
        self.content = frozen(start, self.q)
        self.originals: Tensor = tuned(self.content, self.q).img  # [1 or 2, C, R, R]

    def images(self, tuned: SynthesisPart, weights: dict[str, Tensor]) -> Tensor:
        """Return the images by other weights of the tuned blocks."""
        return functional_call(tuned, weights, (self.content, self.q)).img


def _difference(images: Tensor) -> Tensor:
    sharp, degraded = images.chunk(2)
    return degraded - sharp


@torch.no_grad()
def _random_ws(G: Generator, options: TuningOptions) -> Tensor:
    """Return `[locality_codes, num_ws, w_dim]`, the same for every photo; of all classes in turn."""
    device = G.device
    z = BatchRandom((options.seed, FOR_LOCALITY), options.locality_codes).randn(G.z_dim).to(device)
    return G.mapping(z, G.labels_in_turn(len(z)))
