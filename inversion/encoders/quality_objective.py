"""What the network for q alone is trained for: the degradation of photos whose content an encoder tells already."""

import dataclasses

import torch
from torch import Tensor

from generation.rendering import stored_noise
from inversion.encoders.config import EncoderConfig
from inversion.encoders.encoder import Encoder
from inversion.encoders.losses import ImageTerms
from inversion.encoders.objective import Term, weighted
from inversion.encoders.pairs import Pairs, degrade_known
from inversion.quality.trace_distance import trace_distance
from metrics.weights.directory import WeightsDirectory
from networks.generators.interface import Generator
from networks.latents import Latents

# Fields of the training that are otherwise than those of whole encoders.
DEFAULTS = {"data.own_share": "0.5", "loss.own_q": "1"}


class QualityObjective:
    """The terms of the loss of a batch, for an encoder whose content is frozen.

    Of photos the content is that of the sharp partner, and traces are compared, since content that an encoder finds
    errs by far more than a degradation changes. Of own samples content and code are known.

    Args:
        config: weights of all terms, and the precision of the networks.
        G: network that is inverted; it is frozen.
        weights: directory of published weights.

    Raises UserError when published weights are needed that are not there.
    """

    adversary: None = None  # no sharp images are judged

    def __init__(self, config: EncoderConfig, G: Generator, weights: WeightsDirectory) -> None:
        self.config = config
        self.G = G
        self.image_terms = ImageTerms(dataclasses.replace(config.loss, sharp=config.loss.degraded), weights, G.device)

    def terms(self, encoder: Encoder, pairs: Pairs, images_seen: int) -> tuple[list[Term], None]:
        """Return the terms of a batch, which are the same at all moments of the training."""
        with torch.autocast(self.G.device.type, torch.bfloat16, enabled=self.config.run.precision == "bf16"):
            q = encoder.quality_codes(pairs.degraded)  # [N, q_dim]
        assert q is not None, "an encoder whose network for q is trained has one"
        own = 0 if pairs.known is None else len(pairs.known)
        photos = len(q) - own
        terms = [Term("traces", self.config.loss.traces, self._of_photos(encoder, pairs, q[:photos]))]
        if pairs.known is not None:
            terms += self._of_own_samples(pairs.known, pairs.degraded[photos:], q[photos:])
        return terms, None

    def _of_photos(self, encoder: Encoder, pairs: Pairs, q: Tensor) -> Tensor:
        """Return the distances `[N]` of the traces of photos from those of `G(w, q)`."""
        with torch.no_grad():
            latents = encoder.content_codes(pairs.sharp[: len(q)])
            content = self.G.synthesis.content(latents, stored_noise(self.G, len(q)))
            sharp = self.G.synthesis.image(content)
            distance = trace_distance(pairs.degraded[: len(q)], sharp)
        return distance(self.G.synthesis.image(content, q), q)

    def _of_own_samples(self, known: Latents, degraded: Tensor, q: Tensor) -> list[Term]:
        """Return the distances of codes from the known ones, and of the images of both at the known content."""
        assert known.q is not None, "the network has a quality code"
        loss = self.config.loss
        distances = self.image_terms(degrade_known(self.G, known, q), degraded)
        return [Term("own/q", loss.own_q, (q - known.q).square().mean(1)), *weighted("own", distances, loss.degraded)]
