"""Calls of the ops that between them reach every kernel, and their values and derivatives by either path."""

import itertools

import torch

from tests.support.tolerance import assert_close
from torch_utils.ops.bias_act import ACTIVATIONS, bias_act
from torch_utils.ops.epilogue import epilogue
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.03, torch.float16: 4e-3}  # the torch path rounds in between

OUTER = setup_filter([1, 3, 3, 1])
LONG = setup_filter([1, 2, -3, 4, 5, 6, 7, 8, 9, -10, 11, 12])
WIDE = torch.arange(15.0).reshape(3, 5) - 3
SKEWED = torch.outer(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([5.0, -1.0, 2.0, 3.0]))
ROTATED = torch.tensor([[0.0, 1.0, 2.0, 0.0], [3.0, 9.0, 8.0, 1.0], [1.0, 7.0, 9.0, 2.0], [0.0, 2.0, 1.0, 0.0]]) / 46
LARGE = torch.arange(77.0).reshape(7, 11).sin()

# (filter, up, down, padding, (width, height) of the input)
RESAMPLINGS = [
    (OUTER, 2, 1, (2, 1, 2, 1), (8, 8)),
    (OUTER, 2, 1, (2, 1, 2, 1), (5, 40)),
    (OUTER, 1, 2, (1, 1, 1, 1), (16, 16)),
    (OUTER, 1, 2, (1, 1, 1, 1), (7, 4)),
    (OUTER, 1, 1, (2, 1, 2, 1), (16, 8)),
    (OUTER, 1, 1, (1, 1, 1, 1), (17, 17)),
    (OUTER, 1, 1, (-2, 3, 4, -1), (40, 9)),
    (LONG, 2, 1, (6, 5, 6, 5), (40, 9)),
    (LONG, 1, 2, (6, 5, -1, 7), (70, 35)),
    (LONG, (2, 1), (1, 3), (6, 5, 6, 6), (9, 18)),
    (ROTATED, 2, 1, (2, 1, 2, 1), (8, 6)),
    (ROTATED, 1, 1, (1, 2, 2, 0), (16, 9)),
    (ROTATED, 1, 2, (1, 1, 1, 1), (8, 12)),
    (SKEWED, 1, 1, (1, 2, 2, 0), (16, 20)),
    (SKEWED, (2, 4), (1, 3), (2, 1, 1, 3), (8, 7)),
    (WIDE, (3, 1), (2, 1), (4, 1, 0, 3), (6, 7)),
    (WIDE, (4, 2), (1, 4), (0, 0, 1, 2), (9, 9)),
    (LARGE, (2, 5), (3, 1), (8, 2, 5, 5), (6, 7)),
    (LONG, 7, 5, (6, 5, 6, 5), (9, 11)),
    (torch.ones(1), 1, 1, 0, (5, 3)),
    (torch.full((1, 1), 2.0), (3, 2), 1, (1, 0, 2, 0), (5, 6)),  # outputs that no tap meets
    (torch.tensor([[1.0, 2.0], [3.0, 5.0]]), 3, 1, (2, 1, 1, 3), (4, 5)),
]
HALF_RESAMPLINGS = [RESAMPLINGS[i] for i in (0, 2, 4, 5, 7, 8, 10, 11, 12, 14, 17)]

# Every (resampling, dtype, layout, channels) that is tried without a GPU.
UPFIRDN2D_CASES = [
    *itertools.product(RESAMPLINGS, DTYPES[:1], LAYOUTS, [3, 8]),
    *itertools.product(HALF_RESAMPLINGS, DTYPES[1:], LAYOUTS, [8]),
]
# (shape, axis of the bias or None): a bias for each vector, beside each other, looked up, and none.
BIASES = [((2, 3, 4, 16), 1), ((3, 16), 1), ((5, 3, 7), 1), ((2, 3, 9), None)]
# Both vectors of a thread, with the same bias and with different ones, and a bias that is looked up in pixels.
LONGER = [((150, 16), 1), ((90, 24), 1), ((700, 3), 1)]
# Every (activation, clamp, (shape, axis), dtype) that is tried without a GPU.
BIAS_ACT_CASES = [
    *itertools.product(sorted(ACTIVATIONS), [0.6], BIASES[2:3], DTYPES[:1]),
    *itertools.product(["lrelu", "swish"], [None], BIASES + LONGER, DTYPES[:2]),
    *itertools.product(["relu"], [0.6], BIASES[:2], DTYPES[2:]),
]

# Whole vectors and blocks, odd sizes, several tiles of pixels, several blocks of channels, a single pixel.
EPILOGUE_SHAPES = [(2, 8, 16, 16), (3, 5, 7, 3), (1, 24, 36, 33), (1, 512, 4, 6), (2, 16, 1, 1)]
# Every (shape, dtype, layout, rows of noise, whether there is a clamp) that is tried without a GPU.
EPILOGUE_CASES = [
    *itertools.product(EPILOGUE_SHAPES, DTYPES[:1], LAYOUTS, [0, 1], [True]),
    *itertools.product(EPILOGUE_SHAPES[:3], DTYPES[:1], LAYOUTS, ["N"], [False]),
    *itertools.product(EPILOGUE_SHAPES[:3], DTYPES[1:], LAYOUTS, ["N"], [False]),
]


# Sums over all axes, or over some, and what has summands of their size.
SUMS = {"db": "dx", "dscale": "dx", "dstrength": "dx", "ddb": "ddx", "ddscale": "ddx"}


def assert_same_results(actual, expected, dtype):
    """Compare the values of two paths by name."""
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype and actual[name].shape == value.shape
        if value.numel() == 0:
            continue
        assert_close(actual[name].float(), value.float(), rtol=tolerance(name, expected, dtype), what=name)


def tolerance(name, expected, dtype):
    """Return how far a value may be away, relative to its largest element."""
    if name not in SUMS:
        return TOLERANCE[dtype]
    # Summands may cancel, their roundings (a quarter of the tolerance, say) don't.
    value, summands = expected[name], expected[SUMS[name]].float()
    spread = (summands.numel() / value.numel()) ** 0.5 * summands.abs().max().item()
    return TOLERANCE[dtype] * max(1.0, spread / 4 / max(value.abs().max().item(), 1e-12))


def upfirdn2d_results(case, flip=False, gain=1.0, batch=2, seed=0, device="cpu"):
    """Return y, its gradient, and the gradient of that."""
    (f, up, down, padding, (width, height)), dtype, layout, channels = case
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, height, width, generator=generator).to(device, dtype)
    x = x.contiguous(memory_format=layout).requires_grad_()
    y = upfirdn2d(x, f.to(device), up=up, down=down, padding=padding, flip_filter=flip, gain=gain)
    probe = torch.randn(y.shape, generator=generator).to(device, dtype).requires_grad_()
    (dx,) = torch.autograd.grad(y, x, probe, create_graph=True)
    h = torch.randn(x.shape, generator=generator).to(device, dtype)
    (to_probe,) = torch.autograd.grad(dx, probe, h)
    return {"y": y, "dx": dx, "to_probe": to_probe}


def bias_act_results(case, gain=None, alpha=None, seed=0, layout=torch.contiguous_format, device="cpu"):
    """Return y, its gradients, and the gradients of those."""
    act, clamp, (shape, axis), dtype = case
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(device, dtype)
    x = (x.contiguous(memory_format=layout) if x.ndim == 4 else x).requires_grad_()
    # A bias that the type holds, since the torch path rounds it: else signs beside zero could differ.
    b = None if axis is None else torch.randn(shape[axis], generator=generator).to(dtype).to(device, torch.float32)
    inputs = [x] if b is None else [x, b.requires_grad_()]
    y = bias_act(x, b, dim=1 if axis is None else axis, act=act, alpha=alpha, gain=gain, clamp=clamp)
    probe = torch.randn(shape, generator=generator).to(device, dtype).requires_grad_()
    first = torch.autograd.grad(y, inputs, probe, create_graph=True)
    weights = [torch.randn(d.shape, generator=generator).to(device, d.dtype) for d in first]
    second = torch.autograd.grad(first, [probe, *inputs], weights, allow_unused=True)
    names = ["y", "dx", "db"][: len(first) + 1]
    results = dict(zip(names, [y, *first], strict=True))
    for name, value, like in zip(["to_probe", "ddx", "ddb"], second, [probe, *inputs], strict=False):
        results[name] = torch.zeros_like(like) if value is None else value
    return results


def epilogue_results(case, seed=0, compute=None, device="cpu"):
    """Return y, its gradients, and the gradients of those; `compute`: the type, with the numbers of the case's own."""
    shape, dtype, layout, rows, is_clamped = case
    generator = torch.Generator().manual_seed(seed)

    def draw(*size, of=torch.float32):
        return torch.randn(size, generator=generator).to(of).to(device, compute if of == dtype and compute else of)

    x = draw(*shape, of=dtype).contiguous(memory_format=layout).requires_grad_()
    scale, b, strength = (draw(*size).requires_grad_() for size in (shape[:2], shape[1:2], ()))
    noise = draw(shape[0] if rows == "N" else rows, 1, *shape[2:]) if rows else None
    inputs = {"x": x, "scale": scale, "b": b} | ({"strength": strength} if rows else {})
    y = epilogue(x, scale, noise, strength if rows else None, b, clamp=0.8 if is_clamped else None)
    probe = draw(*shape, of=dtype).requires_grad_()
    first = torch.autograd.grad(y, [*inputs.values()], probe, create_graph=True)
    weights = [draw(*gradient.shape, of=gradient.dtype) for gradient in first]
    second = torch.autograd.grad(first, [probe, x, scale], weights)
    names = ["y", *(f"d{name}" for name in inputs), "to_probe", "ddx", "ddscale"]
    return dict(zip(names, [y, *first, *second], strict=True))
