"""Stage 2, pivotal tuning: the generator is tuned around a photo's codes (Roich et al. 2021; paper, section 3.4)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from images.ranges import to_levels
from inversion.adam import Adam
from inversion.locality import LOCALITIES, CodesInBlocks
from inversion.perceptual import Perceptual, ReconstructionLoss, default_perceptual
from inversion.tuned_weights import TunedWeights
from inversion.tuning_options import TuningOptions
from metrics.distances.pixels import psnr
from networks.generators.interface import Generator
from networks.latents import Latents


def tune(
    G: Generator,
    latents: Latents,
    targets: Tensor,
    options: TuningOptions | None = None,
    perceptual: Perceptual | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    priors: Tensor | None = None,
) -> list[TunedWeights]:
    """Return, for each photo, the weights with which its codes give the photo.

    `G` stays as it is. No photo depends on what else is in the batch. The network's noise is the stored one.

    Args:
        G: frozen; a plain generator where `latents` has no `q`.
        latents: codes of the photos.
        targets: float `[N, C, R, R]` in [-1, 1].
        options: defaults where None.
        perceptual: distance to the targets; None: the embedded one.
        on_step: called with the steps done, of `N * options.steps` over all photos; those saved count as done.
        priors: the restored photos, of the shape of `targets`; needed where `options.prior_weight` is above 0.
    """
    options = options or TuningOptions()
    assert priors is not None or options.prior_weight == 0, "prior_weight needs priors"
    perceptual = perceptual or default_perceptual(targets.device)
    priors = targets if priors is None else priors
    tuned, done = [], 0
    for first in range(0, len(latents), options.photos_at_once):
        rows = range(first, min(first + options.photos_at_once, len(latents)))
        photos = [
            _Photo(G, latents.row(row), targets[row : row + 1], priors[row : row + 1], options, perceptual)
            for row in rows
        ]
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
        for photo, distance in zip(photos, loss.distances, strict=True):
            photo.distance = distance
        for photo, pair in zip(photos, images, strict=True):
            total = total + photo.twin_term(pair) + photo.prior_term(pair) + photo.locality.term(photo.weights, step)
        leaves = [leaf for photo in photos for leaf in photo.optimizer.leaves]
        gradients = iter(torch.autograd.grad(total, leaves, allow_unused=True))
        for photo in photos:
            photo.optimizer.step([next(gradients) for _ in photo.optimizer.leaves])
        yield len(photos)


class _Photo:
    """One photo: its codes, and its own weights of the last blocks."""

    def __init__(
        self,
        G: Generator,
        latents: Latents,
        target: Tensor,
        prior: Tensor,
        options: TuningOptions,
        perceptual: Perceptual,
    ):
        self.target = target
        self.prior = prior
        self.options = options
        self.distance = target.new_tensor(float("inf"))  # perceptual, at the step before
        frozen, self.blocks = G.synthesis.parts(options.blocks)
        self.pivot = CodesInBlocks(G, frozen, self.blocks, latents)
        self.locality = LOCALITIES[options.locality](options, G, frozen, self.blocks, latents, perceptual)
        self.weights = {
            name: parameter.detach().clone().requires_grad_(True)
            for name, parameter in self.blocks.own_parameters().items()
        }
        self.optimizer = Adam()
        self.optimizer.add(list(self.weights.values()), options.lr)

    def images(self) -> Tensor:
        """Return the images at the pivot, `[1 or 2, C, R, R]`: the sharp one where there is a `q`, then the other."""
        return self.pivot.images(self.blocks, self.weights)

    def is_reached(self, images: Tensor) -> bool:
        """Return whether the reconstruction is good enough."""
        options = self.options
        if options.stop_perceptual is not None and self.distance.item() <= options.stop_perceptual:
            return True
        if options.stop_psnr is None:
            return False
        pair = [to_levels(image.detach().clamp(-1, 1), shift_first=True) for image in (images[-1:], self.target)]
        return psnr(*pair).item() >= options.stop_psnr

    def twin_term(self, images: Tensor) -> Tensor:
        """Return how much the difference between degraded and sharp image has changed, weighed."""
        if len(images) == 1 or self.options.twin_weight == 0:
            return images.new_zeros([])
        change = _difference(images) - _difference(self.pivot.originals)
        return self.options.twin_weight * change.square().mean()

    def prior_term(self, images: Tensor) -> Tensor:
        """Return how far the sharp image is from the restored photo of the untuned generator, weighed."""
        if len(images) == 1 or self.options.prior_weight == 0:
            return images.new_zeros([])
        return self.options.prior_weight * (images[:1] - self.prior).square().mean()


def _difference(images: Tensor) -> Tensor:
    sharp, degraded = images.chunk(2)
    return degraded - sharp
