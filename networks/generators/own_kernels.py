"""A blur of the image by a kernel of each image's own."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 9  # largest side of the kernel, in pixels of the block's image


class OwnKernels(nn.Module):
    """Image and code to a residual of the image: its convolution with a kernel linear in the code, of sum zero.

    All channels share the kernel, and an even area stays as it is. The kernel begins as zero.

    Args:
        q_dim: D_q.
        resolution: side of the image, from 1 on.
    """

    by_taps = False  # whether it is computed row by row of the kernel, for graphs of any batch size

    def __init__(self, q_dim: int, resolution: int):
        super().__init__()
        self.side = min(SIDE, 2 * resolution - 1)  # what surrounds the image is its mirror image
        self.weight = nn.Parameter(torch.zeros(q_dim, self.side**2))
        self.gain = 1 / (self.side * math.sqrt(q_dim))

    def kernels(self, q: Tensor) -> Tensor:
        """Return each image's kernel, `[N, side, side]`."""
        kernel = (q * self.gain) @ self.weight  # [N, side * side]
        centre = torch.arange(self.side**2, device=q.device) == self.side**2 // 2
        return (kernel - kernel.sum(1, keepdim=True) * centre).unflatten(1, (self.side, self.side))

    def forward(self, image: Tensor, q: Tensor) -> Tensor:
        """Return the residual of an image `[N, C, H, W]`, of its shape."""
        images, channels, height, width = image.shape
        around = F.pad(image, (self.side // 2,) * 4, mode="reflect")
        kernels = self.kernels(q).to(image.dtype)
        if self.by_taps:
            return _convolve_by_rows(around, kernels)
        groups = images * channels
        planes = around.reshape(1, groups, *around.shape[2:]).contiguous(memory_format=torch.channels_last)
        own = kernels.repeat_interleave(channels, 0)[:, None]  # [N * C, 1, side, side]
        return F.conv2d(planes, own, groups=groups).view(images, channels, height, width)


def _convolve_by_rows(image: Tensor, kernels: Tensor) -> Tensor:
    """Convolve all channels of images `[N, C, H, W]` by kernels `[N, side, side]`, where the whole kernel fits."""
    side = kernels.shape[-1]
    height, width = (size - side + 1 for size in image.shape[2:])
    shifted = torch.stack([image[..., x : x + width] for x in range(side)], 3)  # [N, C, H, side, width]
    rows = (kernels[:, None, None, y : y + 1] @ shifted[:, :, y : y + height] for y in range(side))
    return functools.reduce(torch.add, rows).squeeze(3)
