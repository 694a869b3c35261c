"""`upfirdn2d` as an operator of torch, computed by the `upfirdn2d_*.cu`, with derivatives of any order."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_utils.cuda import operators
from torch_utils.cuda.operators import Find
from torch_utils.cuda.upfirdn2d_plan import Axis, Resampling, plan, resampling

operators.define(
    "upfirdn2d(Tensor x, Tensor f, int[2] up, int[2] down, int[4] padding, bool flip, float gain) -> Tensor"
)


@operators.implement("upfirdn2d")
def _value(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int], flip: bool, gain: float
) -> Tensor:
    x, f = operators.dense(x), f.contiguous()
    y = _value_shape(x, f, up, down, padding, flip, gain)  # [N, C, H', W']
    if y.numel() == 0:
        return y
    if x.numel() == 0:
        return y.zero_()
    work = resampling(x, f, y, up, down, padding, flip, gain)
    launch = plan(work)
    if launch is None:
        x0, x1, y0, y1 = padding
        x = _value(x, f[None, :], (up[0], 1), (down[0], 1), (x0, x1, 0, 0), flip, gain)  # [N, C, H, W']
        return _value(x, f[:, None], (1, up[1]), (1, down[1]), (0, 0, y0, y1), flip, 1.0)
    operators.execute(launch, [y, x, f])
    return y


@operators.shape_of("upfirdn2d")
def _value_shape(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int], flip: bool, gain: float
) -> Tensor:
    """Return the empty result `[N, C, H', W']` in the layout of `x`."""
    batch, channels, height, width = x.shape
    x0, x1, y0, y1 = padding
    out_y = (height * up[1] + y0 + y1 - f.shape[0]) // down[1] + 1
    out_x = (width * up[0] + x0 + x1 - f.shape[-1]) // down[0] + 1
    assert out_x > 0 and out_y > 0, f"a filter of {tuple(f.shape)} leaves nothing of {tuple(x.shape)}"
    layout = torch.contiguous_format if operators.dense(x).is_contiguous() else torch.channels_last
    return torch.empty((batch, channels, out_y, out_x), dtype=x.dtype, device=x.device, memory_format=layout)


def _save_for_transposed(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, f, up, down, padding, flip, gain = inputs
    ctx.arguments = up, down, padding, flip, gain
    ctx.save_for_backward(f)
    ctx.in_size = x.shape[2:]
    ctx.out_size = output.shape[2:]


def _transposed(find: Find, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The transposed map: `up` and `down` exchanged, the taps reversed."""
    (f,) = ctx.saved_tensors
    up, down, (x0, _, y0, _), flip, gain = ctx.arguments
    padding: list[int] = []
    for size, out, taps, before, i in (
        (ctx.in_size[1], ctx.out_size[1], f.shape[-1], x0, 0),
        (ctx.in_size[0], ctx.out_size[0], f.shape[0], y0, 1),
    ):
        padding += [taps - before - 1, (size - 1) * up[i] - out * down[i] + before + 1]
    return find("upfirdn2d")(grad, f, down, up, padding, not flip, gain), *[None] * 6


operators.differentiate("upfirdn2d", _transposed, _save_for_transposed)

_PROBE = Axis(size=8, taps=4, up=1, down=1, pad=0)
for _separable, _outer in ((False, ((0.25,) * 4, (0.25,) * 4)), (True, None)):
    _launch = plan(Resampling(torch.float32, 1, 1, True, _PROBE, _PROBE, 5, 5, _separable, False, 1.0, True, _outer))
    assert _launch is not None, "there is a kernel for filters of four taps"
    operators.PROBES.append(_launch.kernel)


def upfirdn2d(
    x: Tensor,
    f: Tensor,
    up: Sequence[int],
    down: Sequence[int],
    padding: Sequence[int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    """`torch_utils.ops.upfirdn2d.upfirdn2d` with its arguments in full, for tensors that `operators.serve` accepts.

    Factors are (x, y), padding is (x0, x1, y0, y1), and `f` is on the device of `x`.
    """
    return operators.call("upfirdn2d", x, f.float(), up, down, padding, flip_filter, float(gain))
