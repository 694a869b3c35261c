"""The terms of the loss, each a pure function; phases only add them up."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating loss `-log sigmoid(D(G(z)))` of each image, `[N, 1]`."""
    return F.softplus(-fake_logits)


def discriminator_loss_fake(fake_logits: Tensor) -> Tensor:
    """`-log(1 - sigmoid(D(G(z))))` of each image, `[N, 1]`."""
    return F.softplus(fake_logits)


def discriminator_loss_real(real_logits: Tensor) -> Tensor:
    """`-log sigmoid(D(x))` of each image, `[N, 1]`."""
    return F.softplus(-real_logits)


def r1_penalty(real_logits: Tensor, images: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): squared norm of the gradient of D at each real image, `[N]`."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
    return gradient.square().sum([1, 2, 3])


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Length of the generator's Jacobian transposed times noise (StyleGAN2, Eq. 4), `[N]`.

    Args:
        images: `[N, C, H, W]`, computed from `ws`.
        ws: `[N, num_ws, w_dim]`, with gradient.
        noise: of the shape of `images`; normal, with variance 1 / (H W) where lengths shall not grow with the size.
    """
    (gradient,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor) -> Tensor:
    """Squared distance of each image's path length from the running mean, `[N]`."""
    return (lengths - mean).square()


def distillation_loss(teacher: list[Tensor], student: list[Tensor]) -> Tensor:
    """Eq. 11: distance of the features after the blocks with a DegradBlock, summed over blocks.

    Each distance is the mean over elements, where the paper has the sum, which would grow with the resolution.
    """
    pairs = zip(teacher, student, strict=True)
    distances = (F.mse_loss(_channels_last(x), _channels_last(x0)) for x0, x in pairs)
    return functools.reduce(torch.add, distances)


def _channels_last(x: Tensor) -> Tensor:
    """Return float32 `[N, H, W, C]`, so that the derivative has the layout of the features."""
    return x.float().permute(0, 2, 3, 1)
