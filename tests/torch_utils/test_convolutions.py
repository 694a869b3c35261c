"""Convolutions of CPUs: by tiles and by taps they are torch's, in values and gradients of any order."""

import pytest
import torch
import torch.nn.functional as F

from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.convolutions import convolution, taps, winograd
from torch_utils.ops.upfirdn2d import setup_filter

CHANNELS = 128  # the fewest that are served


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    """Take these ways on any processor, and for few channels where a test calls them itself."""
    monkeypatch.setattr(convolution, "_is_slow_at_weight_gradients", lambda: True)
    monkeypatch.setattr(convolution, "FEWEST_FOR_TILES", 1)


def images(channels, height, width, batch=2):
    return torch.randn(batch, channels, height, width).contiguous(memory_format=torch.channels_last)


# What is called, what torch has for it, and the size of its input.
KINDS = {
    "by tiles": (convolution.conv2d, lambda x, w: F.conv2d(x, w, padding=1), (16, 16)),
    "by tiles, wide": (convolution.conv2d, lambda x, w: F.conv2d(x, w, padding=1), (8, 36)),
    "by taps": (convolution.conv2d, lambda x, w: F.conv2d(x, w, padding=1), (6, 5)),
    "stride 2": (lambda x, w: convolution.conv2d(x, w, stride=2), lambda x, w: F.conv2d(x, w, stride=2), (9, 7)),
    "transposed": (
        lambda x, w: convolution.conv_transpose2d(x, w.transpose(0, 1)),
        lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), stride=2),
        (5, 4),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_torchs(kind):
    ours, torchs, size = KINDS[kind]
    x, w = images(5, *size), torch.randn(7, 5, 3, 3)
    expected = torchs(x.double(), w.double())
    found = all_orders(ours, x, w, weights := torch.randn_like(expected, dtype=torch.float32))
    wanted = all_orders(torchs, x.double(), w.double(), weights.double())
    for name, value in found.items():
        error = (value.double() - wanted[name]).abs().max() / wanted[name].std()
        assert error < 2e-4, (name, error)


def all_orders(function, x, w, weights):
    """Return the result, its gradients, and the gradients of a length of these: what R1 and path lengths derive."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    y = function(x, w)
    dx, dw = torch.autograd.grad((y.square() * weights).sum(), [x, w], create_graph=True)
    of_lengths = torch.autograd.grad(dx.square().sum() + (dw.square() * w).sum(), [x, w], create_graph=True)
    third = torch.autograd.grad(sum(gradient.square().sum() for gradient in of_lengths), [x, w])
    names = ("y", "dx", "dw", "ddx", "ddw", "dddx", "dddw")
    return dict(zip(names, (y, dx, dw, *of_lengths, *third), strict=True))


def test_tiles_are_as_exact_as_is_said():
    x, w = images(CHANNELS, 16, 16), torch.randn(CHANNELS, CHANNELS, 3, 3)
    exact = F.conv2d(x.double(), w.double(), padding=1)
    assert (winograd.convolve(x, w) - exact).abs().max() < 1e-4 * exact.std()
    grad = images(CHANNELS, 16, 16)
    x.requires_grad_(False)
    weight = torch.zeros_like(w, dtype=torch.float64).requires_grad_()
    [exact] = torch.autograd.grad(F.conv2d(x.double(), weight, padding=1), weight, grad.double())
    assert (winograd.weight_gradient(x, grad) - exact).abs().max() < 1e-4 * exact.std()
    assert (taps.weight_gradient(x, grad) - exact).abs().max() < 1e-5 * exact.std()


@pytest.mark.parametrize("scale", [{}, {"up": 2}, {"down": 2}])
def test_layers_take_these_ways_and_give_what_torch_gives(scale, monkeypatch):
    calls = []
    for name in ("conv2d", "conv_transpose2d"):
        monkeypatch.setattr(convolution, name, counted(getattr(convolution, name), calls))
    x, w = images(CHANNELS, 32, 32), torch.randn(CHANNELS, CHANNELS, 3, 3)
    f = setup_filter([1, 3, 3, 1]) if scale else None
    fast = conv2d_resample(x, w, f, padding=1, **scale)
    assert len(calls) == 1
    with convolution.exact():
        exact = conv2d_resample(x, w, f, padding=1, **scale)
    assert len(calls) == 1
    assert (fast - exact).abs().max() < 1e-4 * exact.std()


def counted(function, calls):
    def call(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return call


def test_what_is_served():
    x, w = images(CHANNELS, 8, 8), torch.randn(CHANNELS, CHANNELS, 3, 3)
    assert convolution.serves(x, w)
    others = [
        (x[:, :63], w[:, :63]),  # few channels
        (x, w[:, :, :1, :1]),
        (x.double(), w.double()),
        (x.bfloat16(), w.bfloat16()),
        (x.to("meta"), w.to("meta")),
    ]
    assert not any(convolution.serves(*other) for other in others)
    assert not convolution.serves(x, w[:, :64], groups=2)
    assert convolution.serves(x, w, larger_side=32) and not convolution.serves(x, w, larger_side=31)
    convolution.use_exact(True)
    try:
        assert not convolution.serves(x, w)
    finally:
        convolution.use_exact(False)


def test_other_processors_keep_torchs(monkeypatch):
    monkeypatch.undo()
    convolution._is_slow_at_weight_gradients.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not convolution.serves(images(CHANNELS, 8, 8), torch.randn(CHANNELS, CHANNELS, 3, 3))
    convolution._is_slow_at_weight_gradients.cache_clear()


def test_gradients_of_inputs_alone_compute_none_of_weights(monkeypatch):
    calls = []
    monkeypatch.setattr(taps, "weight_gradient", counted(taps.weight_gradient, calls))
    x, w = images(CHANNELS, 4, 4).requires_grad_(), torch.randn(CHANNELS, CHANNELS, 3, 3, requires_grad=True)
    with convolution.no_weight_gradients():
        [dx] = torch.autograd.grad(convolution.conv2d(x, w).square().sum(), x, create_graph=True)
    assert not calls
    dx.square().sum().backward()  # which depends on the weight as well
    assert calls and w.grad.any()


def test_what_is_traced_is_torchs():
    x, w = images(CHANNELS, 4, 4), torch.randn(CHANNELS, CHANNELS, 3, 3)
    graph = torch.jit.trace(lambda x, w: conv2d_resample(x, w, padding=1), (x, w)).graph
    assert "aten::_convolution" in str(graph) and "PythonOp" not in str(graph)
