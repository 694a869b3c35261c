"""F(4x4, 3x3): 3x3 convolutions by tiles of 4x4 outputs, with a quarter of the products (Lavin and Gray 2016).

Tiles of 6x6 inputs, kernels and tiles of outputs are transformed by small matrices; between these a convolution is a
product for each of the 36 places of a tile. What transforms rows and then columns is applied as one matrix, to all
tiles and channels at once.

In float32 results differ from direct sums by up to 1e-4 of their standard deviation; direct sums by up to 2e-5.
"""

import torch
from torch import Tensor

OUT, KERNEL = 4, 3  # sides of a tile of outputs, and of a kernel
TILE = OUT + KERNEL - 1

# Polynomials are evaluated at 0, 1, -1, 2, -2 and infinity: here inputs, kernels, and the way back to outputs.
_INPUT = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]]
_INPUT += [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
_KERNEL = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]  # times 24
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def _of_planes(rows: list[list[int]], divisor: int = 1) -> Tensor:
    """Return the matrix that transforms both sides of a flattened square."""
    matrix = torch.tensor(rows, dtype=torch.float64) / divisor
    return torch.kron(matrix, matrix).float()


INPUT = _of_planes(_INPUT)  # [36, 36]
KERNELS = _of_planes(_KERNEL, 24)  # [36, 9]
OUTPUT = _of_planes(_OUTPUT)  # [16, 36]


def fits(x: Tensor) -> bool:
    """Whether images `[N, C, H, W]` divide into whole tiles, enough of them."""
    height, width = x.shape[2:]
    return height % OUT == 0 and width % OUT == 0 and height * width >= 256


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Correlate `x [N, C, H, W]`, with a border of one zero, with `weight [O, C, 3, 3]`; `[N, O, H, W]`."""
    images, _, height, width = x.shape
    out_channels = weight.shape[0]
    kernels = KERNELS @ weight.permute(2, 3, 1, 0).reshape(KERNEL**2, -1)  # [36, C * O]
    products = torch.bmm(_tiles(x), kernels.view(TILE**2, -1, out_channels))  # [36, T, O]
    tiles = OUTPUT @ products.view(TILE**2, -1)  # [16, T * O]
    tiles = tiles.view(OUT, OUT, images, height // OUT, width // OUT, out_channels)
    return tiles.permute(2, 3, 0, 4, 1, 5).reshape(images, height, width, out_channels).permute(0, 3, 1, 2)


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient `[O, C, 3, 3]` of the weight of `convolve`, of `grad [N, O, H, W]` at its result."""
    images, out_channels, height, width = grad.shape
    tiles = grad.permute(0, 2, 3, 1).reshape(images, height // OUT, OUT, width // OUT, OUT, out_channels)
    spread = OUTPUT.t() @ tiles.permute(2, 4, 0, 1, 3, 5).reshape(OUT**2, -1)  # [36, T * O]
    products = torch.bmm(_tiles(x).transpose(1, 2), spread.view(TILE**2, -1, out_channels))  # [36, C, O]
    kernels = KERNELS.t() @ products.view(TILE**2, -1)  # [9, C * O]
    return kernels.view(KERNEL, KERNEL, -1, out_channels).permute(3, 2, 0, 1)


def _tiles(x: Tensor) -> Tensor:
    """Return the transformed tiles of inputs `[36, T, C]`, which overlap by two pixels."""
    images, channels, height, width = x.shape
    padded = x.new_zeros(images, height + 2, width + 2, channels)
    padded[:, 1:-1, 1:-1] = x.permute(0, 2, 3, 1)
    image, row, pixel, _ = padded.stride()
    shape = TILE, TILE, images, height // OUT, width // OUT, channels
    tiles = padded.as_strided(shape, (row, pixel, image, OUT * row, OUT * pixel, 1))
    return (INPUT @ tiles.reshape(TILE**2, -1)).view(TILE**2, -1, channels)
