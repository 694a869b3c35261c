"""What encoders are trained for: reconstructions like the photos, codes like those known (pSp, e4e, PadInv, FSE)."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from generation.rendering import stored_noise
from inversion.encoders.adversary import Adversary
from inversion.encoders.config import EncoderConfig, SideWeights
from inversion.encoders.encoder import Encoder
from inversion.encoders.kinds.feature_style import FeatureHead
from inversion.encoders.losses import ImageTerms, code_terms, features_error, w_length, w_norm
from inversion.encoders.pairs import Pairs, degrade_known, reconstruct
from metrics.weights.directory import WeightsDirectory
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.distributed import World


class Term(NamedTuple):
    """A term of the loss: its name in the statistics, its weight, and its values `[N]` for some of the images."""

    name: str
    weight: float
    values: Tensor


class Objective(Protocol):
    """What an encoder is trained for."""

    @property
    def adversary(self) -> Adversary | None:
        """What learns to tell reconstructions from photos; None without an adversarial term."""
        ...

    def terms(self, encoder: Encoder, pairs: Pairs, images_seen: int) -> tuple[list[Term], Tensor | None]:
        """Return the terms of a batch at a moment of the training, and the images `[N, C, R, R]` to be judged."""
        ...


class ReconstructionObjective:
    """Reconstructions like the photos, sharp and degraded, and codes like those known.

    Args:
        config: weights of all terms, and the precision of the detectors.
        G: network that is inverted; it is frozen.
        weights: directory of published weights.
        world: this process's place among those that share each batch; None: it is the only one.

    Raises UserError when published weights are needed that are not there.
    """

    def __init__(
        self, config: EncoderConfig, G: Generator, weights: WeightsDirectory, world: World | None = None
    ) -> None:
        self.config = config
        self.G = G
        self.image_terms = ImageTerms(config.loss, weights, G.device)
        self.adversary = Adversary(config, G, world) if config.loss.adversarial > 0 else None

    def terms(self, encoder: Encoder, pairs: Pairs, images_seen: int) -> tuple[list[Term], Tensor]:
        """Return the terms of a batch at a moment of the training, and the sharp reconstructions `[N, C, R, R]`."""
        loss = self.config.loss
        with self._autocast():
            predicted: Latents = encoder(pairs.degraded)
        terms = [Term("w/norm", loss.w_norm, w_norm(predicted.ws, encoder.w_avg, encoder.w_spread))]
        if loss.w_length:
            terms.append(Term("w/length", loss.w_length, w_length(predicted.ws, encoder.w_avg)))
        if pairs.known is not None:
            own = code_terms(predicted[-len(pairs.known) :], pairs.known, encoder.w_spread)
            terms += [Term(f"own/{name}", getattr(loss, f"own_{name}"), values) for name, values in own.items()]
        if predicted.features is not None:
            predicted, of_features = self._features(encoder, predicted, pairs.known, images_seen)
            terms += of_features
        sharp, degraded = reconstruct(self.G, predicted)  # [N, C, R, R] each
        if self.adversary is not None:
            terms.append(Term("sharp/adversarial", loss.adversarial, self.adversary.term(sharp)))
        return self._of_images(predicted.q, sharp, degraded, pairs) + terms, sharp

    def _of_images(self, q: Tensor | None, sharp: Tensor, degraded: Tensor, pairs: Pairs) -> list[Term]:
        """Return the distances of the reconstructions by codes with this predicted `q`.

        The degraded images of own samples are those of their known w, so that q is learnt free of w's error, which a q
        that blurs would hide.
        """
        weights = self.config.loss
        if q is None:
            return _weighted("sharp", self._distances(sharp, pairs.sharp), weights.sharp)
        if pairs.known is not None:
            at_known_w = degrade_known(self.G, pairs.known, q[-len(pairs.known) :])
            degraded = torch.cat([degraded[: -len(at_known_w)], at_known_w])
        both = self._distances(torch.cat([degraded, sharp]), torch.cat([pairs.degraded, pairs.sharp]))  # [2 N]
        halves = {name: values.chunk(2) for name, values in both.items()}
        of_degraded = _weighted("degraded", {name: half[0] for name, half in halves.items()}, weights.degraded)
        return of_degraded + _weighted("sharp", {name: half[1] for name, half in halves.items()}, weights.sharp)

    def _features(
        self, encoder: Encoder, predicted: Latents, known: Latents | None, images_seen: int
    ) -> tuple[Latents, list[Term]]:
        """Return the codes with the features of this moment, and the terms that keep them near those that w makes.

        At first the features are those that w makes, and the predicted ones come in little by little, so that w is
        learnt as well.
        """
        features = predicted.features
        assert features is not None and isinstance(encoder.spatial, FeatureHead), "the encoder predicts features"
        config, spread = self.config, encoder.spatial.spread
        own = self._made_by(predicted, features.layer)
        terms = [Term("features/own", config.loss.features, features_error(features.values, own, spread))]
        if known is not None:
            with torch.no_grad():
                wanted = self._made_by(known, features.layer)
            error = features_error(features.values[-len(known) :], wanted, spread)
            terms.append(Term("own/features", config.loss.own_features, error))
        share = min(1.0, images_seen / max(config.schedule.blend_kimg * 1000, 1))
        blended = own.lerp(features.values, share) if share < 1 else features.values
        return dataclasses.replace(predicted, features=dataclasses.replace(features, values=blended)), terms

    def _made_by(self, latents: Latents, layer: int) -> Tensor:
        """Return the features `[N, C, S, S]` that the generator makes of codes."""
        return self.G.synthesis.layer_output(latents, stored_noise(self.G, len(latents)), layer).float()

    def _distances(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        with self._autocast():
            return {name: values.float() for name, values in self.image_terms(images, targets).items()}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.G.device.type, torch.bfloat16, enabled=self.config.run.precision == "bf16")


def _weighted(side: str, distances: Mapping[str, Tensor], weights: SideWeights) -> list[Term]:
    """Return the distances `[N]` as terms of one side, with its weights."""
    return [Term(f"{side}/{name}", getattr(weights, name), values) for name, values in distances.items()]
