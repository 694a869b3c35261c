"""Bilinear sampling at given positions, with derivatives of any order in the image."""

from typing import Any

import torch
import torch.nn.functional as F

_BILINEAR, _ZEROS = 0, 0  # numbers of the two modes in aten's operators


def grid_sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Sample `images [N, C, H, W]` at `grid [N, H', W', 2]`; return `[N, C, H', W']`.

    Bilinear, zero outside the image, `align_corners=False`: -1 and 1 are the outer edges of the border pixels, x comes
    first. The grid gets no gradient. torch < 2.12 has no second derivative of its own operator; this one has
    derivatives of any order with every version, and saves only the grid for the backward pass.
    """
    assert not grid.requires_grad, "grid_sample has no gradient with respect to the grid; detach it"
    return _Gather.apply(images, grid)


class _Gather(torch.autograd.Function):
    """The sampling: it is linear in the image, so its backward pass is the adjoint map for every image."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(grad, grid, ctx.shape), None


class _Scatter(torch.autograd.Function):
    """The adjoint of the sampling: add values to the pixels that they were read from."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, grid: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        ctx.save_for_backward(grid)
        images = values.new_zeros(()).expand(shape)  # without a gradient for the grid only its shape matters
        backward = torch.ops.aten.grid_sampler_2d_backward
        return backward(values, images, grid, _BILINEAR, _ZEROS, False, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Gather.apply(grad, grid), None, None
