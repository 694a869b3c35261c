"""`upfirdn2d` as an operator of torch, computed by the `upfirdn2d_*.cu`: any order of autograd."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torch_utils.cuda import operators
from torch_utils.cuda.launch import THREADS, TYPES, Kernel, Launch, alignment, power_of_two

_LARGEST_FACTOR = 4  # of the kernels that are specialised for their factors
_MOST_TAPS = 32
_SHARED_FLOATS = 48 * 1024 // 4  # that a block has without asking

operators.define(
    "upfirdn2d(Tensor x, Tensor f, int[2] up, int[2] down, int[4] padding, bool flip, float gain) -> Tensor"
)


@dataclass(frozen=True)
class Axis:
    """One axis of an image: `taps` are applied to `size` pixels, `out` are left."""

    size: int
    taps: int
    up: int
    down: int
    pad: int

    @property
    def unit(self) -> int:
        """Outputs after which the pattern of taps and pixels repeats."""
        return self.up // math.gcd(self.up, self.down)

    def phase(self, multiple: int = 1) -> int:
        """Return by how much outputs lie right of the input pixel, a multiple of `multiple`, that they begin with."""
        return -self.pad % (self.up * multiple)

    def shift(self, phase: int) -> int:
        """Return how many pixels before the image the first output's input begins."""
        return (self.pad + phase) // self.up


@dataclass(frozen=True)
class Resampling:
    """Which images are resampled: `[images, y.size, x.size, channels]` to `[images, out_y, out_x, channels]`.

    NCHW is the case of one channel and N * C images. `separable`: the taps are 1-D and apply to both axes.
    `aligned`: the addresses of both tensors divide by 16.
    """

    dtype: torch.dtype
    images: int
    channels: int
    planar: bool
    x: Axis
    y: Axis
    out_x: int
    out_y: int
    separable: bool
    flip: bool
    gain: float
    aligned: bool


@functools.lru_cache(maxsize=1024)
def plan(work: Resampling) -> Launch | None:
    """Return the launch of the kernel that suits best; None: no kernel suits, filter one axis after the other."""
    factors = (work.x.up, work.y.up, work.x.down, work.y.down)
    small = max(factors) <= _LARGEST_FACTOR
    if work.separable:
        return _plan_separable(work) if small and work.x.taps <= _MOST_TAPS else None
    return _plan_patch(work) if small and work.x.taps * work.y.taps <= _MOST_TAPS else _plan_any(work)


def _plan_patch(work):
    """Each thread computes a patch: wide enough for a store of 16 bytes, high enough to reuse what it reads."""
    x, y = work.x, work.y
    lanes = load = store = 1
    if work.planar:
        patch_x, load, store = _planar_patch(work)
    else:
        lanes = _largest_divisor(work.channels, 16 // work.dtype.itemsize) if work.aligned else 1
        patch_x = _multiple(x.unit, 2)
    patch_y = _multiple(y.unit, 2 if y.down > 1 else 4)
    phase_x, phase_y = x.phase(load), y.phase()
    macros = {
        **_macros(work, phase_x, phase_y),
        **{"TAPS_X": x.taps, "TAPS_Y": y.taps, "PATCH_X": patch_x, "PATCH_Y": patch_y},
        **{"LANES": lanes, "LOAD": load, "STORE": store},
    }
    counts = work.channels // lanes, -(-work.out_x // patch_x), -(-work.out_y // patch_y)
    logs = _block_shape(counts, work.planar)
    blocks = [-(-count >> log) for count, log in zip(counts, logs, strict=True)]
    images = THREADS >> sum(logs)
    scalars = (
        np.int64(work.images),
        *_integers(work.channels, x.size, y.size, work.out_x, work.out_y, x.shift(phase_x), y.shift(phase_y)),
        *_integers(*logs, *blocks, int(work.flip)),
        np.float32(work.gain),
    )
    return Launch(_kernel("patch", macros), math.prod(blocks) * -(-work.images // images), THREADS, scalars)


def _planar_patch(work):
    """Return the columns of a patch, of one load and of one store.

    Scattered loads and stores of single numbers cost the more, the further apart neighbouring threads' patches begin.
    """
    for patch_bytes in (16, 8) if work.aligned else ():
        wide = patch_bytes // work.dtype.itemsize
        patch = _multiple(work.x.unit, wide)
        load = _largest_divisor(math.gcd(patch * work.x.down // work.x.up, work.x.size), wide)
        if patch == wide and work.out_x % wide == 0 and (load > 1 or patch_bytes == 8):
            return patch, load, wide
    return work.x.unit, 1, 1


def _block_shape(counts, planar):
    """Return log2 of the threads of a block along channels, x and y; what is left of it goes to further images."""
    most = (0, 5, 3) if planar else (3, 3, 2)  # a warp reads whole lines of 128 bytes, the block is about square
    left, logs = power_of_two(THREADS), []
    for count, limit in zip(counts, most, strict=True):
        logs.append(min(power_of_two(count), limit, left))
        left -= logs[-1]
    return logs


def _plan_separable(work):
    """Return the launch with the largest tile that fits into shared memory; None where none does."""
    x, y = work.x, work.y
    phase_x, phase_y = x.phase(), y.phase()
    run_x, run_y = _multiple(x.unit, 4), _multiple(y.unit, 4)
    channels = 1 if work.planar else min(work.channels, 8)
    runs_x, runs_y = (16, 4 if y.down > 1 else 8) if work.planar else (4, 4)
    while _shared_floats(work, run_x * runs_x, run_y * runs_y, channels) > _SHARED_FLOATS:
        if runs_x == runs_y == 1:
            return None
        runs_x, runs_y = (runs_x // 2, runs_y) if runs_x > runs_y else (runs_x, runs_y // 2)
    tile_x, tile_y = run_x * runs_x, run_y * runs_y
    macros = {
        **_macros(work, phase_x, phase_y),
        **{"TAPS": x.taps, "CHANNELS": channels, "TILE_X": tile_x, "TILE_Y": tile_y, "RUN_X": run_x, "RUN_Y": run_y},
    }
    blocks = -(-work.channels // channels), -(-work.out_x // tile_x), -(-work.out_y // tile_y)
    scalars = (
        *_integers(work.channels, x.size, y.size, work.out_x, work.out_y, x.shift(phase_x), y.shift(phase_y)),
        *_integers(*blocks, int(work.flip)),
        np.float32(work.gain),
    )
    return Launch(_kernel("separable", macros), math.prod(blocks) * work.images, THREADS, scalars)


def _shared_floats(work, tile_x, tile_y, channels):
    columns, rows = (
        (axis.phase() + (tile - 1) * axis.down + axis.taps - 1) // axis.up + 1
        for axis, tile in ((work.x, tile_x), (work.y, tile_y))
    )
    return rows * ((columns | 1) + (tile_x | 1)) * channels


def _plan_any(work):
    x, y = work.x, work.y
    size = work.images * work.channels * work.out_x * work.out_y
    scalars = (
        np.int64(size),
        *_integers(work.channels, x.size, y.size, work.out_x, work.out_y, x.taps, y.taps),
        *_integers(x.up, y.up, x.down, y.down, x.pad, y.pad, int(work.flip)),
        np.float32(work.gain),
    )
    return Launch(_kernel("any", {"TYPE": TYPES[work.dtype]}), -(-size // THREADS), THREADS, scalars)


def _macros(work, phase_x, phase_y):
    factors = {"UP_X": work.x.up, "UP_Y": work.y.up, "DOWN_X": work.x.down, "DOWN_Y": work.y.down}
    return {"TYPE": TYPES[work.dtype], **factors, "PHASE_X": phase_x, "PHASE_Y": phase_y}


def _kernel(name, macros):
    return Kernel(f"upfirdn2d_{name}", tuple(macros.items()))


def _integers(*values):
    return (np.int32(value) for value in values)


def _multiple(unit, least):
    return unit * -(-least // unit)


def _largest_divisor(number, most):
    """Return the largest power of two up to `most` that divides `number`."""
    return math.gcd(number, most)


def resampling(
    x: Tensor, f: Tensor, y: Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int], flip: bool, gain
) -> Resampling:
    """Return the work that maps `x` to `y`, both `[N, C, H, W]` and dense in the same layout."""
    planar = x.is_contiguous()
    batch, channels, height, width = x.shape
    return Resampling(
        dtype=x.dtype,
        images=batch * channels if planar else batch,
        channels=1 if planar else channels,
        planar=planar,
        x=Axis(width, f.shape[-1], up[0], down[0], padding[0]),
        y=Axis(height, f.shape[0], up[1], down[1], padding[2]),
        out_x=y.shape[3],
        out_y=y.shape[2],
        separable=f.ndim == 1,
        flip=flip,
        gain=gain,
        aligned=alignment(x, y) == 16,
    )


@operators.implement("upfirdn2d")
def _value(x, f, up, down, padding, flip, gain):
    x, f = operators.dense(x), f.contiguous()
    y = _value_shape(x, f, up, down, padding, flip, gain)
    if y.numel() == 0:
        return y
    if x.numel() == 0:
        return y.zero_()
    work = resampling(x, f, y, up, down, padding, flip, gain)
    launch = plan(work)
    if launch is None:
        x0, x1, y0, y1 = padding
        x = _value(x, f[None, :], (up[0], 1), (down[0], 1), (x0, x1, 0, 0), flip, gain)
        return _value(x, f[:, None], (1, up[1]), (1, down[1]), (0, 0, y0, y1), flip, 1.0)
    operators.execute(launch, [y, x, f])
    return y


@operators.shape_of("upfirdn2d")
def _value_shape(x, f, up, down, padding, flip, gain):
    batch, channels, height, width = x.shape
    x0, x1, y0, y1 = padding
    out_y = (height * up[1] + y0 + y1 - f.shape[0]) // down[1] + 1
    out_x = (width * up[0] + x0 + x1 - f.shape[-1]) // down[0] + 1
    assert out_x > 0 and out_y > 0, f"a filter of {tuple(f.shape)} leaves nothing of {tuple(x.shape)}"
    layout = torch.contiguous_format if operators.dense(x).is_contiguous() else torch.channels_last
    return torch.empty((batch, channels, out_y, out_x), dtype=x.dtype, device=x.device, memory_format=layout)


def _keep(ctx, inputs, output):
    x, f, *ctx.arguments = inputs
    ctx.save_for_backward(f)
    ctx.in_size, ctx.out_size = x.shape[2:], output.shape[2:]


def _backward(ctx, grad: Tensor):
    """The transposed map: up and down exchanged, the taps turned round."""
    (f,) = ctx.saved_tensors
    up, down, (x0, _, y0, _), flip, gain = ctx.arguments
    padding = []
    for size, out, taps, before, i in (
        (ctx.in_size[1], ctx.out_size[1], f.shape[-1], x0, 0),
        (ctx.in_size[0], ctx.out_size[0], f.shape[0], y0, 1),
    ):
        padding += [taps - before - 1, (size - 1) * up[i] - out * down[i] + before + 1]
    dx = torch.ops.qc_stylegan.upfirdn2d(grad, f, down, up, padding, not flip, gain)
    return dx, *[None] * 6


operators.differentiate("upfirdn2d", _backward, _keep)

_PROBE = Axis(size=8, taps=4, up=1, down=1, pad=0)
operators.PROBES += [
    plan(Resampling(torch.float32, 1, 1, True, _PROBE, _PROBE, 5, 5, separable, False, 1.0, True)).kernel
    for separable in (False, True)
]


def upfirdn2d(
    x: Tensor,
    f: Tensor,
    up: Sequence[int],
    down: Sequence[int],
    padding: Sequence[int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    """`torch_utils.ops.upfirdn2d.upfirdn2d` with its arguments in full, for tensors that `kernels.serve` accepts.

    Factors are (x, y), padding is (x0, x1, y0, y1), and `f` is on the device of `x`.
    """
    return torch.ops.qc_stylegan.upfirdn2d(x, f.float(), up, down, padding, flip_filter, float(gain))
