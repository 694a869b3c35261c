"""Convolution with up- or downsampling by a filter, in the order that costs least."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from torch_utils.ops.convolutions import convolution
from torch_utils.ops.rings import surround
from torch_utils.ops.upfirdn2d import aligned_padding, upfirdn2d


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
    ring: Tensor | None = None,
) -> Tensor:
    """Upsample by `up`, convolve with `w`, downsample by `down`.

    Args:
        x: `[N, C_in, H, W]`.
        w: `[C_out, C_in // groups, kh, kw]` in the dtype of `x`.
        f: low-pass filter from `setup_filter`, needed when `up` or `down` exceed 1.
        up: factor of upsampling.
        down: factor of downsampling.
        padding: padding of the upsampled image; 1 keeps the size for a 3x3 kernel.
        groups: number of groups of the convolution.
        flip_weight: True correlates (as torch does), False convolves.
        flip_filter: True correlates with `f`, False convolves.
        ring: what stands in place of zeros, for a padding of 1 and a 3x3 kernel: around `x`,
            `[N, C_in, 4 (H + 1)]`; with `up` 2 around the enlarged features that `f` reads, `[N, C_out, 8 (H + 1)]`.

    Returns:
        `[N, C_out, H * up // down, W * up // down]` when `padding` keeps the size.
    """
    kernel = w.shape[-1]
    assert ring is None or (kernel == 3 and padding == 1 and down == 1), "rings are for same-size 3x3 convolutions"
    margins = aligned_padding(f, up, down, padding)
    if up > 1:
        if kernel == 1 and down == 1:
            # A 1x1 kernel commutes with the filter, and there are fewer pixels before it.
            x = F.conv2d(x, w, groups=groups)  # [N, C_out, H, W]
            return upfirdn2d(x, f, up=up, padding=margins, flip_filter=flip_filter, gain=up**2)
        transposed = _transpose(w, groups, flip_weight)
        if up == 2 and convolution.serves(x, w, groups, 2 * x.shape[2]):
            x = convolution.conv_transpose2d(x, transposed)  # [N, C_out, (H - 1) * up + kh, ...]
        else:
            x = F.conv_transpose2d(x, transposed, stride=up, groups=groups)
        x0, x1, y0, y1 = margins
        height, width = w.shape[2:]
        margins = (x0 - width + 1, x1 - width + up, y0 - height + 1, y1 - height + up)
        if ring is not None:
            x, margins = surround(x, ring), (margins[0] - 1, margins[1] - 1, margins[2] - 1, margins[3] - 1)
        return upfirdn2d(x, f, down=down, padding=margins, flip_filter=flip_filter, gain=up**2)
    w = w if flip_weight else w.flip([2, 3])
    if down > 1:
        if kernel == 1:
            x = upfirdn2d(x, f, down=down, padding=margins, flip_filter=flip_filter)  # [N, C_in, H // down, W // down]
            return F.conv2d(x, w, groups=groups)
        x = upfirdn2d(x, f, padding=margins, flip_filter=flip_filter)
        if down == 2 and x.shape[2] % 2 == x.shape[3] % 2 == 1 and convolution.serves(x, w, groups, x.shape[2]):
            return convolution.conv2d(x, w, stride=2)
        return F.conv2d(x, w, stride=down, groups=groups)
    if ring is not None:
        return F.conv2d(surround(x, ring), w, groups=groups)
    if margins == (1, 1, 1, 1) and convolution.serves(x, w, groups):
        return convolution.conv2d(x, w)
    x0, x1, y0, y1 = margins
    if x0 == x1 >= 0 and y0 == y1 >= 0:
        return F.conv2d(x, w, padding=(y0, x0), groups=groups)
    return F.conv2d(F.pad(x, margins), w, groups=groups)


def _transpose(w: Tensor, groups: int, correlates: bool) -> Tensor:
    """Return the weight with which a transposed convolution correlates or convolves the zero-stuffed image by `w`."""
    grouped = w.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # [C_in, C_out // groups, kh, kw]
    return grouped.flip([2, 3]) if correlates else grouped
