"""Augmentation of what the discriminators see (Karras et al. 2020, "Training GANs with Limited Data", appendix B)."""

import torch
from torch import Tensor

from torch_utils.seeding import BatchRandom
from training.augment.color import augment_color
from training.augment.config import PIPES, AugmentPipeConfig
from training.augment.corruptions import augment_cutout, augment_noise, augment_spectrum
from training.augment.draws import ParameterTable
from training.augment.geometry import augment_geometry

__all__ = ["PIPES", "AugmentPipe", "AugmentPipeConfig"]

_STAGES = (augment_geometry, augment_color, augment_spectrum, augment_noise, augment_cutout)


class AugmentPipe(torch.nn.Module):
    """The augmentations of `config`, each applied with probability `p` times its multiplier.

    `p` is a buffer, a scalar float32 that starts at zero; whoever adapts it changes it in place. An image that no
    augmentation changes is returned bit for bit.
    """

    def __init__(self, config: AugmentPipeConfig):
        super().__init__()
        self.config = config
        self.table = ParameterTable(config)
        self.p: Tensor
        self.register_buffer("p", torch.zeros([]))

    def forward(self, images: Tensor, rng: BatchRandom, debug_percentile: float | None = None) -> Tensor:
        """Return augmented `images [N, C, H, W]`, float32 or float64 in [-1, 1], of the same shape and dtype.

        All draws come from `rng`, and their number never depends on `p`. `debug_percentile` (0..1) opens every gate
        and puts each parameter at this point of its distribution. First and second derivatives with respect to the
        images exist. Raises UserError for colour augmentation of images with other than 1 or 3 channels.
        """
        assert images.ndim == 4 and len(images) == len(rng), f"{tuple(images.shape)} images, {len(rng)} rows of draws"
        draws = self.table(rng, self.p, images.dtype, debug_percentile)
        for stage in _STAGES:
            images = stage(images, draws, self.config)
        return images
