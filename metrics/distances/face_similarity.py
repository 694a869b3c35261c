"""Similarity of face identities, from embeddings: the cosine of pairs, and identity consistency of a video."""

import torch.nn.functional as F
from torch import Tensor

from dnnlib.errors import UserError


def similarity(embeddings_a: Tensor, embeddings_b: Tensor) -> Tensor:
    """Return cosines `[N]` in -1..1 between the rows of two batches of embeddings `[N, D]`."""
    shapes = list(embeddings_a.shape), list(embeddings_b.shape)
    assert shapes[0] == shapes[1] and embeddings_a.ndim == 2, f"embeddings of shapes {shapes[0]} and {shapes[1]}"
    return F.cosine_similarity(embeddings_a, embeddings_b, dim=1).clamp(-1, 1)


def identity_consistency(embeddings: Tensor) -> float:
    """Return the mean cosine between the first frame of a video and each of the others, in -1..1.

    Eq. 1 of the feature-style encoder's supplement (Yao et al. 2022), where R gives vectors of length 1.

    Args:
        embeddings: embedding of each frame, in the order of the video, `[frames, D]`.

    Raises UserError for fewer than 2 frames.
    """
    count = len(embeddings)
    if count < 2:
        raise UserError(f"identity consistency compares frames with the first, not {count} alone; give at least 2")
    embeddings = embeddings.double()
    first, others = embeddings[:1], embeddings[1:]
    return similarity(others, first.expand_as(others)).mean().item()
