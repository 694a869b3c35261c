"""Specialisations of the CUDA kernels that the networks use, as the ops plan them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from networks.layers import RESAMPLE_TAPS
from networks.resolutions import DTYPES
from torch_utils.cuda import bias_act, epilogue, outer_product
from torch_utils.cuda.launch import Kernel
from torch_utils.cuda.upfirdn2d_plan import Axis, Resampling, plan
from torch_utils.ops.upfirdn2d import setup_filter

SIDE, CHANNELS, BATCH = 256, 64, 32
# Name -> up, down, padding before, and what is added to the side of the input.
RESAMPLINGS = {"FIR": (1, 1, 1, 1), "up 2": (2, 1, 2, 0), "down 2": (1, 2, 1, 0)}
EPILOGUES = ("epilogue", "epilogue, 1st", "epilogue, 2nd")  # the function and its derivatives
ACTIVATION = ("lrelu", 0.2, 1.0)  # name, alpha and gain, as in the networks


@dataclass(frozen=True)
class Specialisation:
    """A kernel as it is compiled for one use.

    Attributes:
        name: what it computes.
        dtype, layout: of the images; `bias_act` goes through the memory, whatever the layout of its tensors.
        kernel: source and macros.
        outputs: how many one thread computes, of a loop in one round; None where that is not known to the compiler.
    """

    name: str
    dtype: str
    layout: str
    kernel: Kernel
    outputs: int | None


def specialisations() -> Iterator[Specialisation]:
    """Yield the kernels of large images, of each type and layout."""
    for dtype in DTYPES:
        for layout in ("nhwc", "nchw"):
            for name in RESAMPLINGS:
                yield _resampling(name, dtype, layout)
        yield _resampling("FIR", dtype, "nhwc", is_outer=False)
        for order, name in enumerate(("bias_act", "bias_act slope")):
            yield _bias_act(name, order, dtype)
        for layout in ("nhwc", "nchw"):
            for order, name in enumerate(EPILOGUES):
                yield _epilogue(name, order, dtype, layout)
    yield _augmentation()


def _resampling(name: str, dtype: str, layout: str, is_outer: bool = True) -> Specialisation:
    up, down, pad, more = RESAMPLINGS[name]
    f = setup_filter(RESAMPLE_TAPS)
    axis = Axis(SIDE // up + (more if layout == "nhwc" else 0), f.shape[0], up, down, pad)  # odd rows: no vectors
    planar = layout == "nchw"
    work = Resampling(
        dtype=DTYPES[dtype],
        images=BATCH * (CHANNELS if planar else 1),
        channels=1 if planar else CHANNELS,
        planar=planar,
        x=axis,
        y=axis,
        out_x=SIDE // down,
        out_y=SIDE // down,
        separable=False,
        flip=False,
        gain=1.0,
        aligned=True,
        outer=outer_product.find(f) if is_outer else None,
    )
    launch = plan(work)
    assert launch is not None, "2-D filters have a kernel"
    macros = dict(launch.kernel.macros)
    outputs = math.prod(int(macros[name]) for name in ("PATCH_X", "PATCH_Y", "LANES"))
    return Specialisation(name if is_outer else f"{name}, any taps", dtype, layout, launch.kernel, outputs)


def _bias_act(name: str, order: int, dtype: str) -> Specialisation:
    act, alpha, gain = ACTIVATION
    size, bias = BATCH * CHANNELS * SIDE**2, (CHANNELS, 1, True) if order == 0 else None
    launch = bias_act.plan(order, DTYPES[dtype], size, bias, True, act, alpha, gain, 256.0, from_output=order == 1)
    macros = dict(launch.kernel.macros)
    return Specialisation(name, dtype, "any", launch.kernel, int(macros["VECTOR"]) * int(macros["UNROLL"]))


def _epilogue(name: str, order: int, dtype: str, layout: str) -> Specialisation:
    work = epilogue.Work(order, DTYPES[dtype], BATCH, CHANNELS, SIDE**2, layout == "nchw", True, SIDE**2)
    launch, _ = epilogue.plan(work, ACTIVATION[1], 256.0)
    macros = dict(launch.kernel.macros)
    return Specialisation(name, dtype, layout, launch.kernel, int(macros["VECTOR"]) * int(macros["UNROLL"]))


def _augmentation() -> Specialisation:
    """The augmentation's filter of twelve taps along both axes."""
    axis = Axis(SIDE, 12, 2, 1, 6)
    work = Resampling(torch.float32, BATCH, 3, False, axis, axis, 2 * SIDE, 2 * SIDE, True, False, 1.0, True)
    launch = plan(work)
    assert launch is not None, "filters of twelve taps have a kernel"
    return Specialisation("12 + 12 up 2", "fp32", "nhwc", launch.kernel, None)
