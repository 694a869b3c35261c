"""The kernel of what follows a modulated convolution, without a GPU: its source runs on the CPU by its launch plans."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import host_kernels
from tests.support.kernel_cases import EPILOGUE_CASES, EPILOGUE_SHAPES, LAYOUTS, epilogue_results, tolerance
from tests.support.tolerance import assert_close
from tests.torch_utils.test_kernels import needs_compiler, needs_nvrtc, some_of_each
from torch_utils.cuda import epilogue as epilogue_kernel
from torch_utils.cuda import operators
from torch_utils.cuda.compiler import compile_kernel
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.epilogue import epilogue


@pytest.fixture(scope="module")
def used_kernels():
    """Every kernel that the cases need, found by running them on outputs that nobody computes."""
    return host_kernels.kernels_of(lambda: [epilogue_results(case) for case in EPILOGUE_CASES])


@pytest.fixture(scope="module")
def compiled(used_kernels):
    """All of them, compiled for the CPU."""
    host_kernels.build(used_kernels)


def test_cases_reach_every_kernel(used_kernels):
    macros = [dict(kernel.macros) for kernel in used_kernels]
    wanted = {"ORDER": {0, 1, 2}, "CLAMP": {0, 1}, "PLANAR": {0, 1}, "VECTOR": {1, 4, 8}}
    assert {kernel.name for kernel in used_kernels} == {"epilogue"}
    assert all({each[name] for each in macros} >= values for name, values in wanted.items())


@needs_compiler
@pytest.mark.usefixtures("compiled")
@settings(max_examples=24)
@given(case=st.sampled_from(EPILOGUE_CASES), seed=st.integers(0, 1000))
@example(case=((2, 8, 16, 16), torch.float32, torch.contiguous_format, "N", False), seed=23)  # dstrength cancels
def test_values_and_derivatives_equal_the_torch_path(case, seed):
    """Beside the torch path in float32 on the same numbers: the kernel rounds once, at the end."""
    expected = epilogue_results(case, seed, compute=torch.float32)
    with host_kernels.on_host():
        actual = epilogue_results(case, seed)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(actual[name].float(), value, rtol=tolerance(name, expected, case[1]), what=name)
    assert actual["y"].dtype == actual["dx"].dtype == case[1] and actual["y"].is_contiguous(memory_format=case[2])
    assert actual["dscale"].dtype == actual["db"].dtype == torch.float32


@needs_compiler
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_result_always_has_the_same_bits(layout):
    """Sums of blocks are added up in one order."""
    case = (EPILOGUE_SHAPES[2], torch.float32, layout, "N", False)
    with host_kernels.on_host():
        first, second = epilogue_results(case), epilogue_results(case)
    assert all(torch.equal(first[name], second[name]) for name in first)


@needs_compiler
def test_gradients_may_come_in_parts_and_other_layouts():
    """Of the derivative only what is asked for is derived, as path lengths do; strides of gradients may be any."""
    x = torch.randn(2, 8, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    scale, b = torch.randn(2, 8, requires_grad=True), torch.randn(8)

    def results():
        y = epilogue(x, scale, None, None, b)
        (dscale,) = torch.autograd.grad(y, scale, torch.ones(()).expand_as(y), create_graph=True)
        (dx,) = torch.autograd.grad(y, x, torch.ones(y.shape), retain_graph=True)
        (ddx,) = torch.autograd.grad(dscale.square().sum(), x)
        return dscale, dx, ddx

    for actual, expected in zip(host_kernels.on_built_kernels(results), results(), strict=True):
        assert_close(actual, expected)


def test_who_takes_the_kernel():
    """Not noise that is optimised, which would get no gradient; nor a trace, nor small features; empty ones may."""
    x, scale, b, strength = torch.randn(2, 8, 4, 4), torch.randn(2, 8), torch.randn(8), torch.ones(())
    noise = torch.randn(1, 1, 4, 4, requires_grad=True)
    launched = host_kernels.kernels_of(lambda: epilogue(x, scale, noise, strength, b))
    assert [kernel.name for kernel in launched] == ["bias_act"]
    with host_kernels.on_host(is_traced=True) as patch:
        found = []
        patch.setattr(operators, "execute", lambda launch, tensors: found.append(launch.kernel.name))
        epilogue(x, scale, noise.detach(), strength, b)
        assert found == ["bias_act"]
    with host_kernels.on_host():
        empty = epilogue(x[:0].requires_grad_(), scale[:0], noise.detach(), strength, b)
        assert empty.shape == (0, 8, 4, 4) and torch.autograd.grad(empty.sum(), empty, allow_unused=True)
    expected = bias_act(x, b, act="lrelu", gain=1)
    assert torch.equal(epilogue(x, None, None, None, b), expected)
    with pytest.raises(AssertionError, match="strength"):
        epilogue(x, scale, noise, None, b)


def test_sums_of_large_images_are_few():
    """One of each block, which takes up to sixteen rounds; small images still give many blocks."""
    work = epilogue_kernel.Work(1, torch.bfloat16, 32, 64, 2**16, planar=False, aligned=True, noise_step=0)
    launch, tiles = epilogue_kernel.plan(work, 0.2, None)
    assert launch.blocks == 32 * tiles and tiles == 64


@needs_nvrtc
def test_kernels_compile(used_kernels, tmp_path, monkeypatch):
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path))
    for kernel in some_of_each(used_kernels):
        assert compile_kernel(kernel, "sm_90")[:4] == b"\x7fELF"
    assert compile_kernel(used_kernels[0], "sm_80")[:4] == b"\x7fELF"
    assert b".target sm_75" in compile_kernel(used_kernels[0], "compute_75")
