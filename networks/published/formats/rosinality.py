"""StyleGAN2 checkpoints (`.pt`) with the names of the widespread PyTorch port: `g_ema`, `d`, `latent_avg`.

The network is the same: scales for an equal learning rate are applied at run time, convolutions that enlarge transpose
the unflipped weight, minibatch statistics come last. Names differ, weights carry an axis for the batch, and filters
are buffers of each layer.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from networks.layers import RESAMPLE_TAPS
from networks.published.contents import NetworkContent, Published, as_tensors, shown
from torch_utils.ops.upfirdn2d import setup_filter
from torch_utils.untrusted.torch_files import InertFile

DESCRIPTION = "checkpoint of StyleGAN2's PyTorch port"

_LAYER = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
}
_TO_RGB = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "bias": "bias",
}
_D_BLOCK = {
    "conv1.0.weight": "conv0.weight",
    "conv1.1.bias": "conv0.bias",
    "conv2.1.weight": "conv1.weight",
    "conv2.2.bias": "conv1.bias",
    "skip.1.weight": "skip.weight",
}
_D_END = {
    "final_conv.0.weight": "b4.conv.weight",
    "final_conv.1.bias": "b4.conv.bias",
    "final_linear.0.weight": "b4.fc.weight",
    "final_linear.0.bias": "b4.fc.bias",
    "final_linear.1.weight": "b4.out.weight",
    "final_linear.1.bias": "b4.out.bias",
}


def recognises(content: Any) -> bool:
    """Whether this is a checkpoint with a generator of those names, or its bare state dict."""
    return isinstance(content, dict) and "input.input" in _generator_state(content)


def read(file: InertFile) -> Published:
    """Return the generator with the mean of w where the file has it, and the discriminator."""
    content = file.content
    G = generator(as_tensors(_generator_state(content).items(), file.size))
    if "latent_avg" in content:
        G["mapping.w_avg"] = as_tensors([("latent_avg", content["latent_avg"])], file.size)["latent_avg"].flatten()
    if not isinstance(content.get("d"), dict):
        return Published(NetworkContent(G))
    D = discriminator(as_tensors(content["d"].items(), file.size))
    return Published(NetworkContent(G), {"sharp": NetworkContent(D)})


def generator(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a generator by this program's names.

    Raises UserError, a sentence without its subject, for a name that no such generator has.
    """
    return dict(_renamed(state, _generator_name, filter_gain=4))


def discriminator(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a discriminator by this program's names; the rest as `generator`."""
    blocks = {int(match[1]) for name in state if (match := re.match(r"convs\.(\d{1,3})\.conv1", name))}
    largest = 2 ** (len(blocks) + 2)  # px
    return dict(_renamed(state, lambda name: _discriminator_name(name, largest), filter_gain=1))


def _generator_state(content: dict[str, Any]) -> dict[str, Any]:
    inner = content.get("g_ema", content.get("g"))
    return inner if isinstance(inner, dict) else content


def _renamed(
    state: Mapping[str, Tensor], rename: Callable[[str], str | None], filter_gain: int
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state.items():
        if name.endswith(".kernel"):
            _check_filter(name, tensor, filter_gain)
        elif (ours := rename(name)) is None:
            raise UserError(f"has the tensor {shown(name)}, which this program's networks do not have")
        else:
            yield ours, _without_batch(ours, tensor)


def _generator_name(name: str) -> str | None:
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"style\.([1-9]\d{0,2})\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
        return f"{_synthesis_layer(int(match[1]))}.noise_const"
    if match := re.fullmatch(r"(conv1|convs\.(\d{1,2}))\.(.+)", name):
        layer = _synthesis_layer(0 if match[2] is None else int(match[2]) + 1)
        return f"{layer}.{_LAYER[match[3]]}" if match[3] in _LAYER else None
    if match := re.fullmatch(r"to_rgb(1|s\.(\d{1,2}))\.(.+)", name):
        side = 4 if match[2] is None else 8 << int(match[2])
        return f"synthesis.b{side}.torgb.{_TO_RGB[match[3]]}" if match[3] in _TO_RGB else None
    return None


def _synthesis_layer(index: int) -> str:
    """Return the name of layer `index`, counted from the first convolution."""
    return f"synthesis.b{4 << (index + 1) // 2}.conv{0 if index % 2 else 1}"


def _discriminator_name(name: str, largest: int) -> str | None:
    if name in _D_END:
        return _D_END[name]
    first = {"convs.0.0.weight": "weight", "convs.0.1.bias": "bias"}
    if name in first:
        return f"b{largest}.fromrgb.{first[name]}"
    if (match := re.fullmatch(r"convs\.([1-9]\d?)\.(.+)", name)) and match[2] in _D_BLOCK:
        return f"b{largest >> int(match[1]) - 1}.{_D_BLOCK[match[2]]}"
    return None


def _without_batch(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor without the leading axis of length one that stands for the batch, and vectors as vectors."""
    if name.endswith("noise_strength") and tensor.numel() == 1:
        return tensor.reshape([])
    if name.endswith("torgb.bias"):
        return tensor.flatten()
    if name.endswith("noise_const") and tensor.ndim == 4:
        return tensor[0, 0]
    modulated = name.startswith("synthesis.") and name.endswith(".weight") and tensor.ndim == 5
    return tensor[0] if modulated or (name.endswith("const") and tensor.ndim == 4) else tensor


def _check_filter(name: str, kernel: Tensor, gain: int) -> None:
    """Raise UserError unless this is the usual filter; what enlarges makes up for the zeros that it inserts."""
    usual = gain * setup_filter(RESAMPLE_TAPS)
    if kernel.shape != usual.shape or not torch.allclose(kernel, usual, atol=1e-5):
        raise UserError(f"resamples with another filter than {list(RESAMPLE_TAPS)} in {shown(name)}")
