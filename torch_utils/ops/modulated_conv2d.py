"""Convolution whose input channels are scaled by a style (StyleGAN2, section 2.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_utils.ops.conv2d_resample import conv2d_resample

TENSOR_CORE_ROWS = 8  # outputs of a matrix product come in multiples of it, or a GPU falls back to slow kernels


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    gain: float = 1.0,
    ring: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Scale the channels of `x` and convolve with the shared weight; say what brings the outputs to unit variance.

    Scaling activations instead of weights keeps one convolution for the whole batch: per-sample weights would make it
    a grouped one, several times slower. The demodulation factor (StyleGAN2, Eq. 3) is a small matrix product. It is
    left to what follows (`epilogue`), which multiplies each channel by it in passing.

    Args:
        x: `[N, C_in, H, W]`, any floating dtype.
        weight: `[C_out, C_in, kh, kw]`, float32.
        styles: `[N, C_in]`, float32.
        up, down, padding, resample_filter, flip_weight: as in `conv2d_resample`.
        demodulate: whether each output channel is to be divided by the norm of its modulated weight.
        gain: factor of the result.
        ring: frame around `x`, as in `conv2d_resample`; it is not scaled by the styles, but demodulated with the rest.

    Returns:
        `[N, C_out, H * up // down, W * up // down]` in the dtype of `x`, and its factors `[N, C_out]`, float32, which
        hold the gain; None where the first is the result itself.
    """
    assert styles.shape == (x.shape[0], weight.shape[1]), f"styles {tuple(styles.shape)} for {tuple(x.shape)}"
    if x.dtype == torch.float16 and demodulate:
        # Demodulation cancels any scale, so both factors are scaled to where float16 neither overflows nor loses bits.
        bound = weight.abs().amax([1, 2, 3], keepdim=True) * weight[0].numel() ** 0.5  # [C_out, 1, 1, 1]
        largest = styles.abs().amax(1, keepdim=True)  # [N, 1]
        weight, styles = weight / bound, styles / largest
        if ring is not None:  # with `up` it surrounds what the weight has made
            ring = ring / (largest[:, :, None] if up == 1 else largest[:, :, None] * bound[None, :, :, 0, 0])
    x = x * styles.to(x.dtype)[:, :, None, None]  # [N, C_in, H, W]
    weight_x = weight.to(x.dtype)  # [C_out, C_in, kh, kw]
    # [N, C_out, H * up // down, W * up // down]
    x = conv2d_resample(
        x, weight_x, resample_filter, up=up, down=down, padding=padding, flip_weight=flip_weight, ring=ring
    )
    if demodulate:
        return x, demodulation(weight, styles) * gain
    return x if gain == 1 else x * gain, None


def modulated_projection(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """Scale the channels of `x` and combine them at each pixel: a modulated 1x1 convolution without demodulation.

    The styles scale the weight, of which there is one a sample: `x` is read once, and nothing of its size is written.

    Args:
        x: `[N, C_in, H, W]`, any floating dtype, channels_last.
        weight: `[C_out, C_in, 1, 1]`, float32, with few outputs.
        styles: `[N, C_in]`, float32.

    Returns:
        `[N, C_out, H, W]` in the dtype of `x`, channels_last.
    """
    outputs = weight.shape[0]
    scaled = (weight.flatten(1) * styles[:, None]).to(x.dtype)  # [N, C_out, C_in]
    if x.device.type == "cuda":
        scaled = F.pad(scaled, (0, 0, 0, -outputs % TENSOR_CORE_ROWS))
    pixels = x.flatten(2).transpose(1, 2)  # [N, H * W, C_in]
    y = torch.bmm(pixels, scaled.transpose(1, 2))[:, :, :outputs]  # [N, H * W, C_out]
    return y.transpose(1, 2).unflatten(2, x.shape[2:])


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """Return `1 / norm of weight[o] * styles[n]` as `[N, C_out]`."""
    power = weight.square().sum([2, 3])  # [C_out, C_in]
    return (styles.square() @ power.t() + 1e-8).rsqrt()  # [N, C_out]
