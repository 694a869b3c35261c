"""Bilinear sampling at given positions, differentiable in the image as often as wanted."""

import torch
import torch.nn.functional as F

_BILINEAR, _ZEROS = 0, 0  # what the aten operators call the two modes


def grid_sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Look `images [N, C, H, W]` up at `grid [N, H', W', 2]`; return `[N, C, H', W']`.

    Bilinear, zero outside the image, `align_corners=False`: -1 and 1 are the outer edges of the border pixels, x comes
    first. The grid gets no gradient. torch < 2.12 has no second derivative of its own operator; this one has all of
    them on any version, and keeps only the grid for the backward pass.
    """
    assert not grid.requires_grad, "grid_sample has no gradient with respect to the grid; detach it"
    return _Gather.apply(images, grid)


class _Gather(torch.autograd.Function):
    """The lookup: linear in the image, so its backward is the adjoint map, whatever the image is."""

    @staticmethod
    def forward(ctx, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(grad, grid, ctx.shape), None


class _Scatter(torch.autograd.Function):
    """The adjoint of the lookup: spread values over the pixels they were read from."""

    @staticmethod
    def forward(ctx, values: torch.Tensor, grid: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        ctx.save_for_backward(grid)
        images = values.new_zeros(()).expand(shape)  # only its shape matters without a gradient for the grid
        backward = torch.ops.aten.grid_sampler_2d_backward
        return backward(values, images, grid, _BILINEAR, _ZEROS, False, [True, False])[0]

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Gather.apply(grad, grid), None, None
