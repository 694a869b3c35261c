"""The gradient of a 3x3 weight as nine matrix products, one for each tap.

oneDNN computes it at half the rate of the convolution itself, in float32 and channels_last on processors with AVX2; so
it is both faster and more exact.
"""

import torch
from torch import Tensor


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient `[O, C, 3, 3]` of a convolution of stride 1 with a border of one zero.

    Args:
        x: input of the convolution, `[N, C, H, W]`.
        grad: the gradient at its result, `[N, O, H, W]`.
    """
    images, channels, height, width = x.shape
    # All pixels in one line, a zero after each row and a row of zeros after each image: a tap is an offset in it.
    row = width + 1
    length = images * (height + 1) * row
    line = x.new_zeros(length + 2 * row + 2, channels)
    inner = line[row + 1 : row + 1 + length].view(images, height + 1, row, channels)
    inner[:, :height, :width] = x.permute(0, 2, 3, 1)
    gradients = _line_of(grad)
    taps = x.new_empty(3, 3, channels, grad.shape[1])
    for i in range(3):
        for j in range(3):
            first = i * row + j
            torch.mm(line[first : first + length].t(), gradients, out=taps[i, j])
    return taps.permute(3, 2, 0, 1)


def weight_gradient_of_stride_2(x: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient `[O, C, 3, 3]` of a convolution of stride 2 without a border.

    Args:
        x: input of the convolution, `[N, C, 2 H + 1, 2 W + 1]`; its even and odd rows and columns are images of their
            own here.
        grad: the gradient at its result, `[N, O, H, W]`.
    """
    images, _, height, width = grad.shape
    channels, row = x.shape[1], width + 1
    length = images * (height + 1) * row
    gradients = _line_of(grad)
    taps = x.new_empty(3, 3, channels, grad.shape[1])
    for down in range(2):
        for right in range(2):
            part = x.permute(0, 2, 3, 1)[:, down::2, right::2]
            line = x.new_zeros(length + row + 1, channels)
            line[:length].view(images, height + 1, row, channels)[:, : part.shape[1], : part.shape[2]] = part
            for i in range(down, 3, 2):
                for j in range(right, 3, 2):
                    first = (i // 2) * row + j // 2
                    torch.mm(line[first : first + length].t(), gradients, out=taps[i, j])
    return taps.permute(3, 2, 0, 1)


def _line_of(grad: Tensor) -> Tensor:
    """Return the pixels `[N * (H + 1) * (W + 1), C]`, a zero after each row and a row of zeros after each image."""
    images, channels, height, width = grad.shape
    line = grad.new_zeros(images, height + 1, width + 1, channels)
    line[:, :height, :width] = grad.permute(0, 2, 3, 1)
    return line.view(-1, channels)
