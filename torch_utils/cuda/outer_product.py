"""Whether a 2-D filter is an outer product, which the host has to know before it chooses a kernel."""

import math

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

MOST_TAPS = 4  # most taps along an axis of filters that are looked at, as many as the kernel has arguments for
_PRECISION = 1e-6  # largest difference between a filter and the outer product, as a share of its largest tap

Outer = tuple[tuple[float, ...], tuple[float, ...]]  # taps along x and along y

_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # filter -> its version, and what `find` says


def find(f: Tensor) -> Outer | None:
    """Return the taps along x and y whose outer product `f [height, width]` is; None where it is none, or unknown.

    A filter is read once, and again after it has been written to: the host waits for a GPU then. It must not while a
    graph is captured, and there is no telling when a tensor of the inference mode was written to.
    """
    if f.ndim != 2 or max(f.shape) > MOST_TAPS or f.is_inference():
        return None
    version, outer = _known.get(f, (None, None))
    if version == f._version:
        return outer
    if not _may_wait(f):
        return None
    outer = factorize(f.tolist())
    _known[f] = f._version, outer
    return outer


def _may_wait(f: Tensor) -> bool:
    return not (f.is_cuda and torch.cuda.is_current_stream_capturing())


def factorize(rows: list[list[float]]) -> Outer | None:
    """Return taps along x and along y with these numbers as their products; None where there are none.

    They are the sums of the columns and of the rows, so that those of the networks' filters are exact. The filter must
    not cancel in its sum.
    """
    along_x = [sum(column) for column in zip(*rows, strict=True)]
    total = sum(along_x)
    largest = max(abs(tap) for row in rows for tap in row)
    if not math.inf > abs(total) >= largest > 0:
        return None
    along_y = [sum(row) / total for row in rows]
    pairs = ((tap, x * y) for row, y in zip(rows, along_y, strict=True) for tap, x in zip(row, along_x, strict=True))
    is_outer = all(abs(tap - product) <= _PRECISION * largest for tap, product in pairs)
    return (tuple(along_x), tuple(along_y)) if is_outer else None
