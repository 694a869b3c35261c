"""The ops equal the reference numbers, and their derivatives equal finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from tests.support.tolerance import assert_close
from torch_utils.ops.bias_act import ACTIVATIONS, bias_act
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.epilogue import add_noise
from torch_utils.ops.modulated_conv2d import modulated_conv2d, modulated_projection
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter, upfirdn2d, upsample2d

FILTER = setup_filter([1, 3, 3, 1])


def leaf(array, dtype=torch.float32):
    return torch.tensor(np.asarray(array), dtype=dtype, requires_grad=True)


def test_setup_filter(golden):
    arrays, cases = golden("setup_filter")
    for case in cases:
        assert_close(setup_filter(case["filter"], **case["kwargs"]), arrays[f"kernel{case['i']}"], what=str(case))


def test_upfirdn2d(golden):
    arrays, cases = golden("upfirdn2d")
    for case in cases:
        i = case.pop("i")
        case.pop("filter")
        kernel = torch.tensor(arrays[f"kernel{i}"]) if f"kernel{i}" in arrays else None
        x = leaf(arrays[f"x{i}"])
        y = upfirdn2d(x, kernel, **case)
        (dx,) = torch.autograd.grad(y, x, torch.tensor(arrays[f"g{i}"]))
        assert_close(y, arrays[f"y{i}"], what=f"y of {case}")
        assert_close(dx, arrays[f"dx{i}"], what=f"dx of {case}")


def test_bias_act(golden):
    arrays, cases = golden("bias_act")
    for case in cases:
        i = case.pop("i")
        x, b = leaf(arrays[f"x{i}"]), leaf(arrays[f"b{i}"])
        y = bias_act(x, b, **case)
        g = leaf(arrays[f"g{i}"])
        dx, db = torch.autograd.grad(y, [x, b], g, create_graph=True)
        assert_close(y, arrays[f"y{i}"], what=f"y of {case}")
        assert_close(dx, arrays[f"dx{i}"], what=f"dx of {case}")
        assert_close(db, arrays[f"db{i}"], what=f"db of {case}")
        product = (dx * torch.tensor(arrays[f"h{i}"], dtype=torch.float32)).sum()
        ddx = torch.autograd.grad(product, x, allow_unused=True)[0]
        ddx = torch.zeros_like(x) if ddx is None else ddx
        assert_close(ddx, arrays[f"ddx{i}"], what=f"ddx of {case}")


def test_conv2d_resample(golden):
    arrays, cases = golden("conv2d_resample")
    for case in cases:
        i = case.pop("i")
        f = setup_filter(case.pop("filter"))
        x, w = leaf(arrays[f"x{i}"]), leaf(arrays[f"w{i}"])
        y = conv2d_resample(x, w, f, **case)
        dx, dw = torch.autograd.grad(y, [x, w], torch.tensor(arrays[f"g{i}"], dtype=torch.float32))
        assert_close(y, arrays[f"y{i}"], what=f"y of {case}")
        assert_close(dx, arrays[f"dx{i}"], what=f"dx of {case}")
        assert_close(dw, arrays[f"dw{i}"], what=f"dw of {case}")


def demodulated_conv2d(x, w, s, noise=None, **arguments):
    """A modulated convolution with its factors, and noise."""
    return add_noise(*modulated_conv2d(x, w, s, **arguments), noise)


def test_modulated_conv2d(golden):
    arrays, cases = golden("modulated_conv2d")
    for case in cases:
        i = case.pop("i")
        x, w, s, noise = (torch.tensor(arrays[f"{name}{i}"]) for name in ("x", "w", "s", "noise"))
        y = demodulated_conv2d(x, w, s, noise, resample_filter=FILTER, **case)
        assert_close(y, arrays[f"y{i}"], what=f"y of {case}")


factors = st.integers(1, 3)
margins = st.integers(-1, 3)


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(5, 8), st.integers(5, 8)),
    taps=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    up=st.tuples(factors, factors),
    down=st.tuples(factors, factors),
    padding=st.tuples(margins, margins, margins, margins),
    flip=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_upfirdn2d_is_zero_stuffing_then_correlation(size, taps, up, down, padding, flip, seed):
    """Values by the definition, zeros and all; and <A x, y> = <x, A^T y>."""
    assume(size[0] * up[1] + padding[2] + padding[3] >= taps[0])  # else nothing is left
    assume(size[1] * up[0] + padding[0] + padding[1] >= taps[1])
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 2, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(*taps, generator=generator, dtype=torch.float64)
    stuffed = torch.zeros(1, 2, size[0] * up[1], size[1] * up[0], dtype=torch.float64)
    stuffed[:, :, :: up[1], :: up[0]] = x.detach()
    stuffed = torch.nn.functional.pad(stuffed, padding)
    weight = (kernel if flip else kernel.flip([0, 1])).expand(2, 1, *taps)
    expected = torch.nn.functional.conv2d(stuffed, weight, groups=2)[:, :, :: down[1], :: down[0]]
    y = upfirdn2d(x, kernel, up=up, down=down, padding=padding, flip_filter=flip)
    assert_close(y, expected, rtol=1e-12)
    probe = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    (adjoint,) = torch.autograd.grad(y, x, probe)
    assert torch.allclose((y.detach() * probe).sum(), (x.detach() * adjoint).sum(), atol=1e-9)


@pytest.mark.parametrize("up,down", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_upfirdn2d_derivatives(up, down):
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(3, 4, dtype=torch.float64)

    def apply(x):
        return upfirdn2d(x, kernel, up=up, down=down, padding=(2, 1, 0, 3)).square()

    assert gradcheck(apply, x)
    assert gradgradcheck(apply, x, fast_mode=True)


@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
def test_bias_act_derivatives(act):
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    x = (x + 0.1 * x.sign()).requires_grad_()  # away from the kinks
    b = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, b: bias_act(x, b, act=act), (x, b))
    assert gradgradcheck(lambda x, b: bias_act(x, b, act=act), (x, b), fast_mode=True)


@pytest.mark.parametrize("up,down", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_conv2d_derivatives(up, down, demodulate):
    x = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    s = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)

    def apply(x, w, s):
        return demodulated_conv2d(
            x, w, s, up=up, down=down, padding=1, resample_filter=FILTER.double(), demodulate=demodulate
        )

    assert gradcheck(apply, (x, w, s))
    assert gradgradcheck(apply, (x, w, s), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_follows_float32(dtype):
    x = torch.randn(2, 8, 8, 8)
    w, s = torch.randn(6, 8, 3, 3), torch.randn(2, 8)
    y = demodulated_conv2d(x.to(dtype), w, s, up=2, padding=1, resample_filter=FILTER)
    assert y.dtype == dtype
    assert_close(y.float(), demodulated_conv2d(x, w, s, up=2, padding=1, resample_filter=FILTER), rtol=0.03)


def test_float16_survives_large_styles():
    x, w, s = torch.randn(1, 64, 4, 4), torch.randn(8, 64, 3, 3), torch.full((1, 64), 3e4)
    y = demodulated_conv2d(x.half(), w, s, padding=1)
    assert torch.isfinite(y).all()
    assert_close(y.float(), demodulated_conv2d(x, w, s, padding=1), rtol=0.02)


def test_resampling_keeps_constants():
    x = torch.full((1, 1, 8, 8), 0.7)
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    assert_close(upsample2d(x, FILTER)[inner], torch.full((1, 1, 8, 8), 0.7), rtol=1e-6)
    assert downsample2d(x, FILTER).shape == (1, 1, 4, 4)
    assert_close(downsample2d(x, FILTER)[:, :, 1:-1, 1:-1], torch.full((1, 1, 2, 2), 0.7), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_modulated_projection_is_a_modulated_1x1_convolution(dtype):
    """In values and in first and second gradients."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4, 6, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(3, 5, 1, 1, dtype=torch.float64, requires_grad=True)
    styles = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    probes = torch.randn(2, 3, 4, 6, dtype=dtype), torch.randn(2, 5, 4, 6, dtype=dtype)

    def derive(y):
        first = torch.autograd.grad(y, [x, weight, styles], probes[0], create_graph=True)
        return [y, *first, *torch.autograd.grad(first[0], [weight, styles], probes[1])]

    expected = derive(demodulated_conv2d(x, weight, styles, demodulate=False))
    actual = derive(modulated_projection(x, weight, styles))
    assert actual[0].is_contiguous(memory_format=torch.channels_last)
    for value, wanted in zip(actual, expected, strict=True):
        assert value.dtype == wanted.dtype
        assert_close(value.double(), wanted.double(), rtol=1e-9 if dtype == torch.float64 else 0.05)
