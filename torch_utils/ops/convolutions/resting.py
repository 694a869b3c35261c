"""Convolutions by a weight that rests: it is laid out once as the convolution wants it, where that keeps every bit."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Call = tuple[Callable[..., Tensor], tuple[Any, ...]]  # an operation and all of its arguments
convolution = torch.ops.aten.convolution.default

# Pixels of all images beyond which laying out a weight takes too small a share of the time to be worth the comparison.
MOST_PIXELS = 4096


def laid_out(arguments: tuple[Any, ...]) -> Call:
    """Return what does the same as `convolution(*arguments)`, for any values of the input, in no more time.

    torch lays a weight out anew in each call, for which small features take longer than for the convolution itself.
    Whether another layout leads to the same kernel is nowhere written down, so results for random inputs are compared.

    Args:
        arguments: those of `aten.convolution`, on a CPU: input, weight, bias, stride, padding, dilation, whether it is
            transposed, padding of the output, groups.
    """
    x, *others = arguments
    if x.numel() > MOST_PIXELS * x.shape[1]:
        return convolution, arguments
    probe = torch.empty_like(x).normal_(generator=torch.Generator().manual_seed(0))
    expected = convolution(probe, *others)
    for operation, (_, *otherwise) in _other_ways(arguments):
        actual = operation(probe, *otherwise)
        if actual.stride() == expected.stride() and torch.equal(actual, expected):
            return operation, (x, *otherwise)
    return convolution, arguments


def _other_ways(arguments: tuple[Any, ...]) -> Iterator[Call]:
    """Yield the ways that are faster, the fastest first."""
    x, weight, *others = arguments
    if torch.backends.mkldnn.is_available() and x.dtype == weight.dtype == torch.float32:
        yield _packed(arguments)
    yield convolution, (x, weight.contiguous(memory_format=torch.channels_last), *others)


def _packed(arguments: tuple[Any, ...]) -> Call:
    """Return oneDNN's convolution, by a weight in the order of memory that it chooses for inputs of this shape."""
    x, weight, bias, stride, padding, dilation, is_transposed, output_padding, groups = arguments
    onednn, size = torch.ops.mkldnn, list(x.shape)
    nothing_follows: tuple[str, list, str] = ("none", [], "")
    if is_transposed:
        weight = onednn._reorder_convolution_transpose_weight(
            weight, padding, output_padding, stride, dilation, groups, size
        )
        others = (bias, padding, output_padding, stride, dilation, groups, *nothing_follows)
        return onednn._convolution_transpose_pointwise.default, (x, weight, *others)
    weight = onednn._reorder_convolution_weight(weight, padding, stride, dilation, groups, size)
    return onednn._convolution_pointwise.default, (x, weight, bias, padding, stride, dilation, groups, *nothing_follows)
