"""The CUDA kernels on GPUs: values and derivatives equal those of the torch path on the same device."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.kernel_cases import (
    BIAS_ACT_CASES,
    EPILOGUE_CASES,
    LAYOUTS,
    OUTER,
    UPFIRDN2D_CASES,
    assert_same_results,
    bias_act_results,
    epilogue_results,
    tolerance,
    upfirdn2d_results,
)
from tests.support.tolerance import assert_close
from torch_utils.cuda import operators, outer_product
from torch_utils.ops import bias_act as bias_act_op
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.upfirdn2d import upfirdn2d

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
DEVICES = range(max(torch.cuda.device_count(), 1))


@pytest.fixture(autouse=True)
def _exact_convolutions(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(autouse=True)
def _kernels_for_small_tensors(monkeypatch):
    monkeypatch.setattr(bias_act_op, "SMALLEST_FOR_KERNEL", 0)


def assert_equal_paths(results, dtype, is_traced):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operators, "is_traced", lambda: is_traced)
        actual = results()
    with operators.disabled():
        expected = results()
    assert_same_results(actual, expected, dtype)


@pytest.mark.parametrize("device", DEVICES)
def test_kernels_can_be_had(device):
    assert operators.cause(device) == ""


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=200)
@given(
    case=st.sampled_from(UPFIRDN2D_CASES),
    flip=st.booleans(),
    gain=st.sampled_from([1.0, 4.0, 0.3]),
    batch=st.integers(0, 70),
    seed=st.integers(0, 1000),
    is_traced=st.booleans(),
)
def test_upfirdn2d_equals_the_torch_path(device, case, flip, gain, batch, seed, is_traced):
    where = torch.device("cuda", device)
    assert_equal_paths(lambda: upfirdn2d_results(case, flip, gain, batch, seed, where), case[1], is_traced)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=200)
@given(
    case=st.sampled_from(BIAS_ACT_CASES),
    gain=st.sampled_from([None, 0.5, -0.7]),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 1000),
    is_traced=st.booleans(),
)
def test_bias_act_equals_the_torch_path(device, case, gain, layout, seed, is_traced):
    act, clamp, _, dtype = case
    if clamp is not None and dtype != torch.float32:
        seed = 0  # rounding decides on which side of the bound a number lies, so these have none beside it
    where = torch.device("cuda", device)
    assert_equal_paths(lambda: bias_act_results(case, gain, None, seed, layout, where), dtype, is_traced)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=100)
@given(case=st.sampled_from(EPILOGUE_CASES), seed=st.integers(0, 1000))
def test_epilogue_equals_the_torch_path(device, case, seed):
    """In float32, beside which the kernel rounds once; and twice with the same bits, sums included."""
    where = torch.device("cuda", device)
    actual, again = (epilogue_results(case, seed, device=where) for _ in range(2))
    with operators.disabled():
        expected = epilogue_results(case, seed, torch.float32, where)
    for name, value in expected.items():
        assert_close(actual[name].float(), value, rtol=tolerance(name, expected, case[1]), what=name)
        assert torch.equal(actual[name], again[name])


def layer(x, b):
    return upfirdn2d(bias_act(x, b, act="lrelu", clamp=2.0), OUTER.to(x.device), up=2, padding=(2, 1, 2, 1), gain=4)


def test_kernels_run_in_a_captured_graph():
    x, b, f = torch.randn(4, 8, 16, 16, device="cuda"), torch.randn(8, device="cuda"), OUTER.cuda()

    def run():
        return upfirdn2d(bias_act(x, b, act="lrelu"), f, up=2, padding=(2, 1, 2, 1))

    run()  # compiles and loads, which a capture may not
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = run()
    x.copy_(torch.randn_like(x))
    graph.replay()
    assert torch.equal(y, run())


def test_a_filter_that_is_first_met_in_a_capture():
    """The host may not read it then: the kernel for any taps runs, which has to be loaded before."""
    x, f = torch.randn(4, 8, 16, 16, device="cuda"), OUTER.cuda()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outer_product, "find", lambda f: None)
        expected = upfirdn2d(x, f, up=2)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = upfirdn2d(x, f, up=2)
    graph.replay()
    assert torch.equal(y, expected)
    assert_close(upfirdn2d(x, f, up=2), expected)


def test_kernels_run_on_the_current_stream():
    stream = torch.cuda.Stream()
    x = torch.zeros(64, 64, 256, 256, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for _ in range(8):
            x.add_(1)
        y = bias_act(x, act="relu", gain=2.0)
    stream.synchronize()
    assert (y == 16).all()


def test_kernels_stay_in_a_compiled_graph():
    x, b = torch.randn(4, 8, 16, 16, device="cuda"), torch.randn(8, device="cuda")
    assert_close(torch.compile(layer, fullgraph=True)(x, b), layer(x, b))


def test_tensors_of_more_than_two_to_the_31():
    x = torch.zeros(2**31 + 8, dtype=torch.float16, device="cuda")
    x[-1] = -3
    y = bias_act(x[None, :], act="lrelu", gain=1.0)
    assert y[0, -1].item() == pytest.approx(-0.6, rel=1e-3) and not y[0, :-1].any()
