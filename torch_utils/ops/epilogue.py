"""What follows a modulated convolution: demodulation, noise, bias and leaky ReLU, in one kernel where there is one."""

import torch
from torch import Tensor

from torch_utils.cuda import epilogue as epilogue_kernel
from torch_utils.cuda import operators
from torch_utils.ops import bias_act
from torch_utils.ops.bias_act import ACTIVATIONS


def epilogue(
    x: Tensor,
    scale: Tensor | None,
    noise: Tensor | None,
    strength: Tensor | None,
    b: Tensor,
    clamp: float | None = None,
) -> Tensor:
    """Return `clamp(lrelu(x * scale + noise * strength + b))` in the dtype of `x`; the activation has no gain.

    Args:
        x: `[N, C, H, W]`, any floating dtype.
        scale: factor of each image's channels `[N, C]`, float32; None: 1.
        noise: `[N or 1, 1, H, W]`, or None.
        strength: factor of the noise `[]`, given with it.
        b: bias `[C]`.
        clamp: bound of the absolute value, or None.
    """
    assert (noise is None) == (strength is None), "noise comes with its strength"
    alpha = ACTIVATIONS["lrelu"].alpha
    if scale is not None and _has_kernel(x, noise):
        return epilogue_kernel.epilogue(x, scale, noise, strength, b, alpha, clamp)
    noise = None if noise is None or strength is None else noise * strength
    x = add_noise(x, scale, noise)
    return bias_act.bias_act(x, b, act="lrelu", alpha=alpha, gain=1, clamp=clamp)


def add_noise(x: Tensor, scale: Tensor | None, noise: Tensor | None) -> Tensor:
    """Return `x * scale + noise` in the dtype of `x [N, C, H, W]`; of `scale [N, C]` and noise None has no effect."""
    noise = None if noise is None else noise.to(x.dtype)
    if scale is None:
        return x if noise is None else x + noise
    factor = scale.to(x.dtype)[:, :, None, None]  # [N, C, 1, 1]
    return x * factor if noise is None else torch.addcmul(noise, x, factor)


def _has_kernel(x: Tensor, noise: Tensor | None) -> bool:
    """Return whether the kernel is there and pays; noise that is optimised takes the plain path, as traces do.

    A compiler fuses the plain operations itself, together with what comes before and after.
    """
    if not operators.serve(x) or operators.is_traced() or x.numel() < bias_act.SMALLEST_FOR_KERNEL:
        return False
    return noise is None or not (torch.is_grad_enabled() and noise.requires_grad)
