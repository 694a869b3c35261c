"""Plans of the kernels `upfirdn2d_*.cu`: which kernel computes a resampling, its macros and its grid."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torch_utils.cuda import outer_product
from torch_utils.cuda.launch import THREADS, TYPES, Kernel, Launch, Scalar, alignment, power_of_two
from torch_utils.cuda.outer_product import Outer

_LARGEST_FACTOR = 4  # largest factor of the kernels that are specialised for their factors
_MOST_TAPS = 32  # most taps of these kernels: of a 2-D filter in all, of a separable one along each axis
_SHARED_FLOATS = 48 * 1024 // 4  # default size of a block's shared memory, in floats

Macros = dict[str, str | int]


@dataclass(frozen=True)
class Axis:
    """One axis of a resampling.

    Attributes:
        size: number of pixels before.
        taps: number of taps of the filter.
        up: factor of upsampling.
        down: factor of downsampling.
        pad: zeros before the first pixel of the upsampled axis.
    """

    size: int
    taps: int
    up: int
    down: int
    pad: int

    @property
    def unit(self) -> int:
        """Number of outputs after which the pattern of taps and pixels repeats."""
        return self.up // math.gcd(self.up, self.down)

    def phase(self, multiple: int = 1) -> int:
        """Return the distance of the first output from its first input pixel, whose index is a multiple of `multiple`.

        The distance is counted in upsampled pixels.
        """
        return -self.pad % (self.up * multiple)

    def shift(self, phase: int) -> int:
        """Return how many pixels before the image the input of the first output begins."""
        return (self.pad + phase) // self.up


@dataclass(frozen=True)
class Resampling:
    """A resampling of images, from `[images, y.size, x.size, channels]` to `[images, out_y, out_x, channels]`.

    Attributes:
        dtype: type of the images.
        images: number of images; N * C in the layout NCHW.
        channels: number of channels; 1 in the layout NCHW.
        planar: whether the layout is NCHW.
        x, y: the two axes.
        out_x, out_y: width and height of the result.
        separable: whether the taps are 1-D and apply to both axes.
        flip: whether the filter is correlated instead of convolved.
        gain: factor of the result.
        aligned: whether the addresses of both tensors are multiples of 16.
        outer: what `outer_product.find` says of a 2-D filter.
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
    outer: Outer | None = None


@functools.lru_cache(maxsize=1024)
def plan(work: Resampling) -> Launch | None:
    """Return the launch of the fastest kernel; None: there is none, and the axes are filtered one after the other."""
    factors = (work.x.up, work.y.up, work.x.down, work.y.down)
    line = max(work.x.size, work.out_x) * work.channels  # which these kernels count by 32 bits
    small = max(factors) <= _LARGEST_FACTOR and line < 2**31
    if work.separable:
        return _plan_separable(work) if small and work.x.taps <= _MOST_TAPS else None
    return _plan_patch(work) if small and work.x.taps * work.y.taps <= _MOST_TAPS else _plan_any(work)


def _plan_patch(work: Resampling) -> Launch:
    """Plan a launch in which each thread computes a patch of outputs, `[patch_y, patch_x, lanes]`.

    A patch is wide enough for stores of 16 bytes, and high enough to use each input several times; with an outer
    product, whose rows cost no more sums, higher still.
    """
    x, y = work.x, work.y
    lanes = load = store = 1
    if work.planar:
        patch_x, load, store = _planar_patch(work)  # columns
    else:
        lanes = _largest_divisor(work.channels, 16 // work.dtype.itemsize) if work.aligned else 1  # channels
        patch_x = _multiple(x.unit, 2)
    patch_y = _multiple(y.unit, (4 if work.outer is None else 8) // (2 if y.down > 1 else 1))  # rows
    phase_x, phase_y = x.phase(load), y.phase()
    macros: Macros = {
        **_macros(work, phase_x, phase_y),
        **{"TAPS_X": x.taps, "TAPS_Y": y.taps, "PATCH_X": patch_x, "PATCH_Y": patch_y},
        **{"OUTER": int(work.outer is not None), "LANES": lanes, "LOAD": load, "STORE": store},
    }
    counts = work.channels // lanes, -(-work.out_x // patch_x), -(-work.out_y // patch_y)  # patches along c, x, y
    logs = _block_shape(counts, work.planar)  # a block has [images, 2^log_y, 2^log_x, 2^log_c] patches
    blocks = [-(-count >> log) for count, log in zip(counts, logs, strict=True)]  # blocks along c, x, y
    images = THREADS >> sum(logs)  # images of a block
    scalars: tuple[Scalar, ...] = (
        np.int64(work.images),
        *_integers(work.channels, x.size, y.size, work.out_x, work.out_y, x.shift(phase_x), y.shift(phase_y)),
        *_integers(*logs, *blocks, int(work.flip)),
        np.float32(work.gain),
        *_outer_taps(work),
    )
    return Launch(_kernel("patch", macros), math.prod(blocks) * -(-work.images // images), THREADS, scalars)


def _outer_taps(work: Resampling) -> list[Scalar]:
    """Return four taps along x and four along y in the order of the pixels, times the gain; zeros fill up."""
    scalars: list[Scalar] = []
    for taps, gain in zip(work.outer or ((), ()), (work.gain, 1.0), strict=True):
        ordered = taps if work.flip else taps[::-1]
        scalars += [np.float32(tap * gain) for tap in (*ordered, *[0.0] * (outer_product.MOST_TAPS - len(taps)))]
    return scalars


def _planar_patch(work: Resampling) -> tuple[int, int, int]:
    """Return the numbers of columns of a patch, of one load and of one store, in the layout NCHW.

    Loads and stores of single numbers are slower the further apart the patches of neighbouring threads begin.
    """
    for patch_bytes in (16, 8) if work.aligned else ():
        wide = patch_bytes // work.dtype.itemsize  # columns
        patch = _multiple(work.x.unit, wide)
        load = _largest_divisor(math.gcd(patch * work.x.down // work.x.up, work.x.size), wide)
        if patch == wide and work.out_x % wide == 0 and (load > 1 or patch_bytes == 8):
            return patch, load, wide
    return work.x.unit, 1, 1


def _block_shape(counts: tuple[int, int, int], planar: bool) -> list[int]:
    """Return log2 of the threads of a block along channels, x and y; its other threads work on further images."""
    most = (0, 5, 3) if planar else (3, 3, 2)  # a warp reads whole lines of 128 bytes, the block is about square
    left = power_of_two(THREADS)
    logs: list[int] = []
    for count, limit in zip(counts, most, strict=True):
        logs.append(min(power_of_two(count), limit, left))
        left -= logs[-1]
    return logs


def _plan_separable(work: Resampling) -> Launch | None:
    """Plan a launch in which each block computes a tile of outputs, `[tile_y, tile_x, channels]`, by two 1-D passes.

    The tile is the largest that fits into shared memory; returns None when none fits.
    """
    x, y = work.x, work.y
    phase_x, phase_y = x.phase(), y.phase()
    run_x, run_y = _multiple(x.unit, 4), _multiple(y.unit, 4)  # consecutive outputs of one thread
    channels = 1 if work.planar else min(work.channels, 8)
    runs_x, runs_y = (16, 4 if y.down > 1 else 8) if work.planar else (4, 4)  # runs of a tile
    while _shared_floats(work, run_x * runs_x, run_y * runs_y, channels) > _SHARED_FLOATS:
        if runs_x == runs_y == 1:
            return None
        runs_x, runs_y = (runs_x // 2, runs_y) if runs_x > runs_y else (runs_x, runs_y // 2)
    tile_x, tile_y = run_x * runs_x, run_y * runs_y
    macros: Macros = {
        **_macros(work, phase_x, phase_y),
        **{"TAPS": x.taps, "CHANNELS": channels, "TILE_X": tile_x, "TILE_Y": tile_y, "RUN_X": run_x, "RUN_Y": run_y},
    }
    blocks = -(-work.channels // channels), -(-work.out_x // tile_x), -(-work.out_y // tile_y)  # along c, x, y
    scalars: tuple[Scalar, ...] = (
        *_integers(work.channels, x.size, y.size, work.out_x, work.out_y, x.shift(phase_x), y.shift(phase_y)),
        *_integers(*blocks, int(work.flip)),
        np.float32(work.gain),
    )
    return Launch(_kernel("separable", macros), math.prod(blocks) * work.images, THREADS, scalars)


def _shared_floats(work: Resampling, tile_x: int, tile_y: int, channels: int) -> int:
    """Return the size of the shared memory for a tile: its inputs, and the result of the pass along x."""
    columns, rows = (  # inputs of the tile
        (axis.phase() + (tile - 1) * axis.down + axis.taps - 1) // axis.up + 1
        for axis, tile in ((work.x, tile_x), (work.y, tile_y))
    )
    return rows * ((columns | 1) + (tile_x | 1)) * channels  # odd rows avoid bank conflicts


def _plan_any(work: Resampling) -> Launch:
    """Plan a launch for any factors and filters, in which each thread computes one output."""
    x, y = work.x, work.y
    size = work.images * work.channels * work.out_x * work.out_y
    scalars: tuple[Scalar, ...] = (
        np.int64(size),
        *_integers(work.channels, x.size, y.size, work.out_x, work.out_y, x.taps, y.taps),
        *_integers(x.up, y.up, x.down, y.down, x.pad, y.pad, int(work.flip)),
        np.float32(work.gain),
    )
    return Launch(_kernel("any", {"TYPE": TYPES[work.dtype]}), -(-size // THREADS), THREADS, scalars)


def _macros(work: Resampling, phase_x: int, phase_y: int) -> Macros:
    factors = {"UP_X": work.x.up, "UP_Y": work.y.up, "DOWN_X": work.x.down, "DOWN_Y": work.y.down}
    return {"TYPE": TYPES[work.dtype], **factors, "PHASE_X": phase_x, "PHASE_Y": phase_y}


def _kernel(name: str, macros: Macros) -> Kernel:
    return Kernel(f"upfirdn2d_{name}", tuple(macros.items()))


def _integers(*values: int) -> Iterator[np.int32]:
    return (np.int32(value) for value in values)


def _multiple(unit: int, least: int) -> int:
    """Return the smallest multiple of `unit` that is at least `least`."""
    return unit * -(-least // unit)


def _largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of `number` up to `most`, which is a power of two."""
    return math.gcd(number, most)


def resampling(
    x: Tensor,
    f: Tensor,
    y: Tensor,
    up: Sequence[int],
    down: Sequence[int],
    padding: Sequence[int],
    flip: bool,
    gain: float,
) -> Resampling:
    """Return the resampling that maps `x` to `y`, both `[N, C, H, W]` and dense in the same layout."""
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
        outer=outer_product.find(f),
    )
