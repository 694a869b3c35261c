"""Convolutions by weights that rest: laid out in another way, they keep their bits."""

import pytest
import torch

from torch_utils.ops.convolutions import resting


def arguments(size, weight, *, is_transposed=False, stride=1, padding=1, groups=1, bias=False, dtype=torch.float32):
    """Return what `aten.convolution` gets for an input and a weight of these shapes."""
    x = torch.randn(size, dtype=dtype).contiguous(memory_format=torch.channels_last)
    b = torch.randn(weight[1] * groups if is_transposed else weight[0], dtype=dtype) if bias else None
    spatial = [stride] * 2, [padding] * 2, [1, 1]
    return x, torch.randn(weight, dtype=dtype), b, *spatial, is_transposed, [0, 0], groups


KINDS = {
    "3x3": ((1, 32, 32, 32), (32, 32, 3, 3), {}),
    "3x3 of small features": ((1, 32, 4, 4), (32, 32, 3, 3), {}),
    "several images": ((3, 16, 16, 16), (16, 16, 3, 3), {"bias": True}),
    "upsampling": ((1, 32, 32, 32), (32, 16, 3, 3), {"is_transposed": True, "stride": 2, "padding": 0, "bias": True}),
    "downsampling": ((1, 16, 33, 33), (32, 16, 3, 3), {"stride": 2, "padding": 0}),
    "a filter": ((1, 64, 33, 33), (64, 1, 4, 4), {"groups": 64}),
    "upsampling by a filter": ((1, 3, 16, 16), (3, 1, 4, 4), {"is_transposed": True, "stride": 2, "groups": 3}),
    "1x1": ((1, 16, 32, 32), (3, 16, 1, 1), {"padding": 0}),
    "large features": ((2, 8, 64, 64), (8, 8, 3, 3), {}),
    "bf16": ((1, 16, 16, 16), (16, 16, 3, 3), {"dtype": torch.bfloat16}),
}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_results_keep_their_bits(kind):
    size, weight, more = KINDS[kind]
    given = arguments(size, weight, **more)
    operation, laid_out = resting.laid_out(given)
    for scale in (1, 1e-3, 0):
        x = scale * torch.randn_like(given[0])
        expected, actual = resting.convolution(x, *given[1:]), operation(x, *laid_out[1:])
        assert torch.equal(actual, expected) and actual.stride() == expected.stride()


@torch.no_grad()
def test_results_of_other_bits_are_not_taken(monkeypatch):
    given = arguments((1, 4, 8, 8), (4, 4, 3, 3))
    nearly = (lambda *arguments: resting.convolution(*arguments) * (1 + 1e-6), given)
    monkeypatch.setattr(resting, "_other_ways", lambda arguments: iter([nearly]))
    operation, laid_out = resting.laid_out(given)
    assert operation is resting.convolution and laid_out is given
