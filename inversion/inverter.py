"""Photos to codes: an encoder or the projector finds them, pivotal tuning brings the generator to the photo."""

import copy
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.remarks import remark
from generation.rendering import stored_noise, synthesize
from inversion.encoders.files import load_encoder, read_encoder_header, require_network
from inversion.familiarity import Views, distances_of, is_strange, usual_detail, views_of
from inversion.fidelity.blend import blend
from inversion.perceptual import default_perceptual, load_perceptual, perceptual_sha256
from inversion.pivotal_tuning import tune
from inversion.projector import ProjectorOptions, project, search_space
from inversion.quality.fit_quality import QualityOptions, fit_quality
from inversion.tuned_weights import Inversion, TunedWeights, apply
from inversion.tuning_options import TuningOptions
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.generators.interface import Generator
from networks.latents import Latents

PRIOR_FIDELITY = 0.5  # fidelity of the restored photos that tuning may be bound to

OnStep = Callable[[str, int, int], None]  # stage, steps done, steps in all


def _note_search(network: str) -> None:
    """Say what it means that a network has no encoder."""
    remark(
        f"{network} is used without an encoder: the projector searches for each photo, which takes much longer and "
        f"finds less; invert.py train-encoder --network={network} --data=PHOTOS trains one"
    )


def _nothing(stage: str, done: int, total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class InversionOptions:
    """How photos are inverted.

    Attributes:
        encoder: path of an encoder; None: the projector starts from the mean image.
        projector: how the projector searches, from the encoder's codes where there is one; None: not at all, which
            needs an encoder.
        tuning: how the generator is tuned; None: not at all.
        quality: how `q` is fitted where the encoder gives w alone; None: it stays zero.
        perceptual: name of the perceptual distance of projector and tuning.
        fidelity: how much restored photos keep of the photo, from 0 to 1, see `inversion.fidelity.blend`.
    """

    encoder: str | None = None
    projector: ProjectorOptions | None = field(default_factory=ProjectorOptions)
    tuning: TuningOptions | None = field(default_factory=TuningOptions)
    quality: QualityOptions | None = field(default_factory=QualityOptions)
    perceptual: str = "cifar"
    fidelity: float = 0.5

    def __post_init__(self) -> None:
        require(0 <= self.fidelity <= 1, "--fidelity", self.fidelity, "from 0 (the network's) to 1 (the photo)")
        if self.encoder is None and self.projector is None:
            cure = "give --encoder=FILE or --projector-steps above 0"
            raise UserError(f"without an encoder the projector must search; {cure}")


@dataclass(frozen=True)
class Restoration:
    """Restored photos.

    Attributes:
        reconstruction: the photos as the network shows them, `[N, C, R, R]` in [-1, 1].
        restored: their restored versions, of the same shape.
    """

    reconstruction: Tensor
    restored: Tensor


def _report_quality(on_step: OnStep, total: int, done: int) -> None:
    on_step("quality", done, total)


class Inverter:
    """Inverts images into one network.

    Args:
        network: file of the network.
        device: device that everything runs on.
        options: how photos are inverted.
        weights: directory of the weights of published perceptual networks.
        needs_quality: whether a plain network is refused.

    Raises UserError for files that are missing or something else.
    """

    def __init__(
        self,
        network: str | os.PathLike,
        device: torch.device,
        options: InversionOptions | None = None,
        weights: WeightsDirectory | None = None,
        needs_quality: bool = False,
    ):
        self.network = network
        self.options = options or InversionOptions()
        require_network(network)
        self.G = load(network, device)
        self.G.require_own_codes(network)
        if self.G.c_dim > 0:
            raise UserError(f"{network} has classes, and photos are inverted into networks without; give another")
        if needs_quality and self.G.q_dim == 0:
            raise UserError(f"{network} is plain, without the quality code that this needs; give a QC network")
        self.encoder = None
        self.encoder_header: dict[str, Any] = {}
        if self.options.encoder is not None:
            self.encoder = load_encoder(self.options.encoder, network, self.G)
            self.encoder_header = read_encoder_header(self.options.encoder)
        self.space = None if self.options.projector is None else search_space(self.G, self.options.projector)
        weights = weights or WeightsDirectory(None)
        self.perceptual = load_perceptual(self.options.perceptual, weights, device)
        self._perceptual_sha256 = perceptual_sha256(self.options.perceptual, weights)
        self._last_views: tuple[Latents, Views] | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.G.device

    @property
    def fits_quality(self) -> bool:
        """Whether `q` is searched for by itself: after an encoder of w alone, where no projector searches for both."""
        if self.encoder is None or self.options.projector is not None:
            return False
        return self.G.q_dim > 0 and self.encoder.quality is None

    @property
    def kind(self) -> str:
        """Kind of what finds the codes: that of the encoder; the projector by itself finds w alone, as `psp` does."""
        return "psp" if self.encoder is None else self.encoder.config.kind

    @property
    def settings(self) -> dict[str, Any]:
        """All that the codes of a photo depend on, as JSON; its restored image depends on the fidelity as well."""
        options = dataclasses.asdict(self.options)
        del options["fidelity"]
        if self.options.encoder is not None:
            options["encoder"] = sha256(self.options.encoder)
        return {"network": sha256(self.network), "perceptual_sha256": self._perceptual_sha256, **options}

    def invert(self, targets: Tensor, on_step: OnStep = _nothing) -> list[Inversion]:
        """Return what is found for each image `[N, C, R, R]` in [-1, 1]."""
        targets = targets.to(self.device)
        latents = self.codes(targets, on_step)
        tuned = self._tuned_weights(latents, targets, on_step)
        settings = self.settings
        pairs = zip(latents.to("cpu").rows(), tuned, strict=True)
        return [Inversion(row, weights, settings=settings) for row, weights in pairs]

    def _tuned_weights(self, latents: Latents, targets: Tensor, on_step: OnStep) -> Sequence[TunedWeights | None]:
        """Return the weights tuned for each photo; None where there is no tuning."""
        options = self.options.tuning
        if options is None:
            return [None] * len(targets)
        total = len(targets) * options.steps
        priors = None
        if options.prior_weight > 0:
            priors = self._mix(views_of(self.G, latents), targets, PRIOR_FIDELITY).restored
        return tune(self.G, latents, targets, options, self.perceptual, lambda n: on_step("tuning", n, total), priors)

    def codes(self, targets: Tensor, on_step: OnStep = _nothing, start: Latents | None = None) -> Latents:
        """Return the codes of images, before any tuning, from an encoder, the projector, or both.

        `start` takes the place of the encoder's, such as the codes of the video's frame before.
        """
        if self.encoder is not None and start is None:
            with torch.no_grad():
                start = self.encoder(targets)
        options = self.options.projector
        if start is None:
            _note_search(os.fspath(self.network))
        if options is None:
            assert start is not None, "without a projector there is an encoder"
            return self._with_quality(start, targets, on_step)
        return project(
            self.G,
            targets,
            options,
            self.perceptual,
            start,
            on_step=lambda done: on_step("projector", done, options.steps),
            space=self.space,
        )

    def _with_quality(self, latents: Latents, targets: Tensor, on_step: OnStep) -> Latents:
        """Return latents with a `q` fitted to the images, where the network has one and the encoder gives none."""
        if latents.q is not None or self.G.q_dim == 0:
            return latents
        options = self.options.quality
        if options is None:
            return dataclasses.replace(latents, q=targets.new_zeros(len(latents), self.G.q_dim))
        noise = stored_noise(self.G, len(latents))
        report = functools.partial(_report_quality, on_step, options.steps)
        q = fit_quality(self.G, latents, noise, targets, options, on_step=report)
        return dataclasses.replace(latents, q=q)

    @torch.no_grad()
    def is_strange(self, inversion: Inversion, photo: Tensor) -> bool:
        """Whether a photo `[1, C, R, R]` shows something else than the encoder's photos; False without an encoder."""
        if self.encoder is None:
            return False
        latents, photo = inversion.latents.to(self.device), photo.to(self.device)
        views = self._views(inversion.latents)
        distances = distances_of(self.G, latents, views, photo, default_perceptual(self.device))
        return is_strange({name: distance.item() for name, distance in distances.items()}, self.encoder_header)

    def with_projector(self, projector: ProjectorOptions) -> "Inverter":
        """Return the same inverter whose projector searches otherwise."""
        other = copy.copy(self)
        other.options = dataclasses.replace(self.options, projector=projector)
        if self.options.projector is None or projector.whitened != self.options.projector.whitened:
            other.space = search_space(self.G, projector)
        return other

    @contextmanager
    def tuned(self, inversion: Inversion) -> Iterator[Generator]:
        """Yield the generator for one photo."""
        yield self.G if inversion.tuned is None else apply(self.G, inversion.tuned)

    @torch.no_grad()
    def images(self, inversion: Inversion, latents: Latents) -> Tensor:
        """Return the images `[N, C, R, R]` of codes, by the generator that was tuned for the photo."""
        with self.tuned(inversion) as G:
            return synthesize(G, latents.to(self.device)).clamp(-1, 1)

    @torch.no_grad()
    def restore(self, inversion: Inversion, photo: Tensor) -> "Restoration":
        """Return the restored version of a photo `[1, C, R, R]` in [-1, 1], mixed with it by the options' fidelity."""
        if inversion.tuned is None:
            views = self._views(inversion.latents)
        else:
            with self.tuned(inversion) as G:
                views = views_of(G, inversion.latents.to(self.device))
        return self._mix(views, photo.to(self.device), self.options.fidelity)

    def _views(self, latents: Latents) -> Views:
        """Return the network's own images of codes; the last ones are kept, as several results need them."""
        last = self._last_views
        if last is None or last[0] is not latents:
            last = (latents, views_of(self.G, latents.to(self.device)))
            self._last_views = last
        return last[1]

    @torch.no_grad()
    def _mix(self, views: Views, photos: Tensor, fidelity: float) -> Restoration:
        """Return the restored versions of photos `[N, C, R, R]` from their codes' images, mixed with them."""
        detail = usual_detail(self.encoder_header, self.G.img_resolution)
        return Restoration(views.reconstruction, blend(photos, views.sharp, fidelity, detail).clamp(-1, 1))
