"""What the network for q alone is trained for: the degradation of photos whose content an encoder tells already."""

import torch
from torch import Tensor

from generation.rendering import stored_noise
from inversion.encoders.config import EncoderConfig
from inversion.encoders.encoder import Encoder
from inversion.encoders.objective import Term
from inversion.encoders.pairs import Pairs
from inversion.quality.compared_part import ComparedPart
from inversion.quality.trace_distance import trace_distance
from networks.generators.interface import Generator

# Fields of the training that are otherwise than those of whole encoders.
DEFAULTS = {"data.own_share": "0.5", "loss.own_q": "1"}


class QualityObjective:
    """The terms of the loss of a batch, for an encoder whose content is frozen.

    Of photos the content is that of the sharp partner, and traces are compared, since content that an encoder finds
    errs by far more than a degradation changes. Of own samples the code is known.

    Args:
        config: weights of all terms, and the precision of the networks.
        G: network that is inverted; it is frozen.
    """

    adversary: None = None  # no sharp images are judged

    def __init__(self, config: EncoderConfig, G: Generator) -> None:
        self.config = config
        self.G = G

    def terms(self, encoder: Encoder, pairs: Pairs, images_seen: int) -> tuple[list[Term], None]:
        """Return the terms of a batch, which are the same at all moments of the training."""
        with torch.autocast(self.G.device.type, torch.bfloat16, enabled=self.config.run.precision == "bf16"):
            q = encoder.quality_codes(pairs.degraded)  # [N, q_dim]
        assert q is not None, "an encoder whose network for q is trained has one"
        loss = self.config.loss
        photos = len(q) - (0 if pairs.known is None else len(pairs.known))
        terms = [Term("traces", loss.traces, self._of_photos(encoder, pairs, q[:photos]))]
        if pairs.known is not None:
            assert pairs.known.q is not None, "the network has a quality code"
            terms.append(Term("own/q", loss.own_q, (q[photos:] - pairs.known.q).square().mean(1)))
        return terms, None

    def _of_photos(self, encoder: Encoder, pairs: Pairs, q: Tensor) -> Tensor:
        """Return the distances `[N]` of the traces of photos from those of `G(w, q)`."""
        with torch.no_grad():
            latents = encoder.content_codes(pairs.sharp[: len(q)])
            part = ComparedPart(self.G, self.G.synthesis.content(latents, stored_noise(self.G, len(q))))
            distance = trace_distance(part.cut(pairs.degraded[: len(q)]), part.render(None))
        return distance(part.render(q), q)
