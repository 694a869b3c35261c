"""The terms of the loss, each a pure function; phases only add them up."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_utils.ops.convolutions.convolution import no_weight_gradients
from training.config import DistillNorm

CONTENT_CELLS = 8  # along either side of an image
SMALLEST_POWER = 1e-12  # power of features; those of a teacher that is zero everywhere are not divided by zero


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
    with no_weight_gradients():
        (gradient,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
    return gradient.square().sum([1, 2, 3])


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Length of the generator's Jacobian transposed times noise (StyleGAN2, Eq. 4), `[N]`.

    Args:
        images: `[N, C, H, W]`, computed from `ws`.
        ws: `[N, num_ws, w_dim]`, with gradient.
        noise: noise of the shape of `images`; normal, with variance 1 / (H W) where lengths shall not grow with the
            size.
    """
    with no_weight_gradients():
        (gradient,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor) -> Tensor:
    """Squared distance of each image's path length from the running mean, `[N]`."""
    return (lengths - mean).square()


def distillation_loss(teacher: list[Tensor], student: list[Tensor], norm: DistillNorm = "relative") -> Tensor:
    """Eq. 11: squared distance of the features after the blocks with a DegradBlock, summed over blocks.

    Args:
        teacher: each block's features `[N, C, H, W]`, without gradient.
        student: the same of the generator in training.
        norm: unit of an image's distance at a block. `sum`: summed over channels and pixels, as the paper writes it,
            which grows with the resolution. `elements`: mean over them, which is as small as the features' power.
            `relative`: this mean divided by the mean power of the teacher's features of the image, which depends
            neither on the resolution nor on the features' scale.

    Returns: scalar, mean over images.
    """
    pairs = zip(teacher, student, strict=True)
    distances = (_distances(_channels_last(x0), _channels_last(x), norm).mean() for x0, x in pairs)
    return functools.reduce(torch.add, distances)


def content_loss(sharp: Tensor, degraded: Tensor) -> Tensor:
    """Mean squared difference of the means of 8 x 8 cells, which no degradation of a photo changes much.

    Nothing else binds a degraded image to its sharp twin: a discriminator of degraded images is content with any cat.
    (This term is not in the paper, whose blocks come after features of 128 x 128, too late to draw other content.)

    Args:
        sharp, degraded: images `[N, C, R, R]`.

    Returns: scalar, mean over images.
    """
    cell = max(1, sharp.shape[-1] // CONTENT_CELLS)
    return F.avg_pool2d(degraded - sharp, cell).square().mean()


def _distances(x0: Tensor, x: Tensor, norm: DistillNorm) -> Tensor:
    """Return the distance of each image's features `[N, H, W, C]`, as `[N]`."""
    squares = (x - x0).square()
    if norm == "sum":
        return squares.sum([1, 2, 3])
    distances = squares.mean([1, 2, 3])
    return distances / x0.square().mean([1, 2, 3]).clamp(min=SMALLEST_POWER) if norm == "relative" else distances


def _channels_last(x: Tensor) -> Tensor:
    """Return float32 `[N, H, W, C]`, so that the derivative has the layout of the features."""
    return x.float().permute(0, 2, 3, 1)
