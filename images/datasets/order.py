"""The order of training images: a permutation for each round, which keeps to few shards at a time."""

import numpy as np

from images.datasets.dataset import ImageDataset
from torch_utils.purposes import FOR_ORDER

SHARDS_AT_ONCE = 8  # whose images are mixed: more would be read here and there, fewer would not mix well


def round_order(dataset: ImageDataset, seed: int, number: int) -> np.ndarray:
    """Return the images of round `number` in their order, int64 `[len(dataset)]`; it depends on the seed alone.

    Images of shards come in groups of SHARDS_AT_ONCE shards, those of a group mixed: another division of the shards
    for each round.
    """
    rng = np.random.default_rng((seed, FOR_ORDER, number))
    if dataset.shards is None:
        return rng.permutation(len(dataset))
    ranks = rng.permutation(int(dataset.shards.max()) + 1)  # [shards]: each shard's place in this round
    groups = ranks[np.resize(dataset.shards, len(dataset))] // SHARDS_AT_ONCE  # [images], mirrored ones included
    return np.lexsort((rng.permutation(len(dataset)), groups))
