"""Filters that are outer products: found, read once, and taken for nothing where they cannot be read."""

import pytest
import torch

from tests.support import host_kernels
from tests.support.kernel_cases import OUTER, ROTATED, SKEWED, WIDE, upfirdn2d_results
from torch_utils.cuda import outer_product, upfirdn2d_plan
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d


@pytest.fixture
def read(monkeypatch):
    """The filters that the host has read."""
    filters = []
    factorize = outer_product.factorize
    monkeypatch.setattr(outer_product, "factorize", lambda rows: filters.append(rows) or factorize(rows))
    return filters


@pytest.mark.parametrize("f", [OUTER, SKEWED, -SKEWED, torch.ones(1, 1), torch.ones(4, 1), SKEWED.flip([0, 1]) * 1e-20])
def test_taps_of_an_outer_product(f):
    along_x, along_y = outer_product.find(f)
    assert (len(along_y), len(along_x)) == f.shape
    product = torch.outer(torch.tensor(along_y).double(), torch.tensor(along_x).double())
    assert torch.allclose(product, f.double(), rtol=1e-6, atol=0)


def test_the_networks_filter_is_exact():
    assert outer_product.find(setup_filter([1, 3, 3, 1])) == ((0.125, 0.375, 0.375, 0.125),) * 2


@pytest.mark.parametrize(
    "f",
    [
        ROTATED,
        WIDE,
        torch.zeros(4, 4),
        torch.outer(torch.tensor([1.0, -1.0]), torch.tensor([1.0, 1.0])),  # cancels
        torch.full((4, 4), torch.nan),
        torch.full((4, 4), torch.inf),
        torch.ones(5, 5),  # more taps than the kernel takes
        OUTER + torch.eye(4) * 1e-5,
    ],
)
def test_what_is_none(f):
    assert outer_product.find(f) is None


def test_a_filter_is_read_once_and_again_when_it_was_written_to(read):
    f = OUTER.clone()
    assert outer_product.find(f) == outer_product.find(f) and len(read) == 1
    f.copy_(ROTATED)
    assert outer_product.find(f) is None and len(read) == 2
    f.copy_(SKEWED[:1, :1].expand(4, 4))
    assert outer_product.find(f) == outer_product.find(f) == ((20.0,) * 4, (0.25,) * 4) and len(read) == 3


def test_derivatives_do_not_read_it_again(read):
    f = OUTER.clone()
    with host_kernels.on_host() as patch:
        patch.setattr(host_kernels.operators, "execute", lambda launch, tensors: None)
        for is_traced in (False, True):
            patch.setattr(host_kernels.operators, "is_traced", lambda is_traced=is_traced: is_traced)
            upfirdn2d_results(((f, 2, 1, 1, (8, 8)), torch.float32, torch.channels_last, 8))
    assert len(read) == 1


def test_a_capture_and_the_inference_mode_read_nothing(read, monkeypatch):
    with torch.inference_mode():
        assert outer_product.find(OUTER.clone()) is None
    f = OUTER.clone()
    monkeypatch.setattr(outer_product, "_may_wait", lambda f: False)
    assert outer_product.find(f) is None and not read
    monkeypatch.undo()
    assert outer_product.find(f) is not None


def test_what_is_not_known_takes_the_kernel_for_any_taps(monkeypatch):
    x, f = torch.randn(2, 8, 16, 16).contiguous(memory_format=torch.channels_last), OUTER.clone()
    expected = upfirdn2d(x, f)
    results = {}
    for outer in (None, outer_product.find(f)):
        monkeypatch.setattr(outer_product, "find", lambda f, outer=outer: outer)
        kernels = host_kernels.kernels_of(lambda: upfirdn2d(x, f))
        assert [dict(kernel.macros)["OUTER"] for kernel in kernels] == [int(outer is not None)]
        if host_kernels.COMPILER:
            results[outer] = host_kernels.on_built_kernels(lambda: upfirdn2d(x, f))
    for y in results.values():
        assert torch.allclose(y, expected, atol=1e-6)


def test_lines_beyond_32_bits_take_the_kernel_that_counts_by_64():
    x, y = (upfirdn2d_plan.Axis(size, 4, 1, 1, 0) for size in (2**28, 4))
    work = upfirdn2d_plan.Resampling(
        torch.float32, 1, 8, False, x, y, 2**28 - 3, 1, False, False, 1.0, True, outer_product.find(OUTER)
    )
    launch = upfirdn2d_plan.plan(work)
    assert launch is not None and launch.kernel.name == "upfirdn2d_any"
