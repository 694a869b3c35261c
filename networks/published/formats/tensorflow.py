"""Pickles of the first StyleGAN2, in TensorFlow: (G, D, Gs), each with its components and its variables.

The network is the same. Weights have their outputs last, styles lack their 1, and convolutions that enlarge correlate
with the zero-stuffed image, where this program's convolve.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from dnnlib.errors import UserError
from networks.published.contents import NetworkContent, Published, as_tensors, require_options, shown
from torch_utils.untrusted.pickles import Record
from torch_utils.untrusted.torch_files import InertFile

DESCRIPTION = "pickle of StyleGAN2 in TensorFlow"
_NETWORK = "dnnlib.tflib.network.Network"

_G_FIXED = {
    "resample_kernel": ([1, 3, 3, 1],),
    "nonlinearity": ("lrelu",),
    "mapping_nonlinearity": ("lrelu",),
    "normalize_latents": (True,),
    "label_size": (0, None),
    "truncation_psi_val": (None,),
    "truncation_cutoff_val": (None,),
}
# What shapes and settings tell.
_TOLD = {
    *("architecture", "dlatent_avg_beta", "dlatent_size", "fmap_base", "fmap_decay", "fmap_max", "fmap_min"),
    *("latent_size", "mapping_fmaps", "mapping_layers", "mapping_lrmul", "mbstd_group_size", "mbstd_num_features"),
    *("num_channels", "resolution"),
}
# What does not change a network's weights: how it is run, and by which functions of the source.
_RUNNING = {
    *("components", "dlatent_broadcast", "dtype", "func_name", "fused_modconv", "is_template_graph", "is_training"),
    *("is_validation", "mapping_func", "randomize_noise", "return_dlatents", "style_mixing_prob", "synthesis_func"),
    *("truncation_cutoff", "truncation_psi"),
}


def recognises(content: Any) -> bool:
    """Whether this is a tuple of three networks of that kind."""
    if not isinstance(content, (tuple, list)) or len(content) != 3:
        return False
    return all(isinstance(network, Record) and network.name == _NETWORK for network in content)


# A tensor's name in this program and what converts it; None for a tensor that no network of ours has.
Renamed = tuple[str, Callable[[Tensor], Tensor]] | None


def read(file: InertFile) -> Published:
    """Return the generator's moving average Gs, and the discriminator."""
    _, D, Gs = (_state(network) for network in file.content)
    return Published(_generator(Gs, file.size), {"sharp": _discriminator(D, file.size)})


def _generator(state: dict[str, Any], file_size: int) -> NetworkContent:
    parts = {name: _state(network) for name, network in (state.get("components") or {}).items()}
    if not {"mapping", "synthesis"} <= parts.keys():
        raise UserError("has a generator without the components mapping and synthesis; it is no StyleGAN2")
    options: dict[str, Any] = {}
    for part in (state, parts["mapping"], parts["synthesis"]):
        own = part.get("static_kwargs") or {}
        require_options(own, _G_FIXED, _TOLD | _RUNNING)  # for each part, since a later one may have the same name
        options |= own
    settings = {}
    if "mapping_lrmul" in options:
        settings["mapping.lr_multiplier"] = options["mapping_lrmul"]
    if options.get("dlatent_avg_beta") is not None:
        settings["mapping.w_avg_beta"] = options["dlatent_avg_beta"]
    tensors: dict[str, Tensor] = {}
    for variables, rename in (
        (state, _average_name),
        (parts["mapping"], _mapping_name),
        (parts["synthesis"], _synthesis_name),
    ):
        tensors |= _renamed(_variables(variables, file_size), rename)
    return NetworkContent(tensors, settings)


def _discriminator(state: dict[str, Any], file_size: int) -> NetworkContent:
    options = state.get("static_kwargs") or {}
    require_options(options, _G_FIXED, _TOLD | _RUNNING)
    tensors = dict(_renamed(_variables(state, file_size), _discriminator_name))
    settings = {"mbstd_group_size": options["mbstd_group_size"]} if "mbstd_group_size" in options else {}
    return NetworkContent(tensors, settings)


def _state(network: Any) -> dict[str, Any]:
    if not isinstance(network, Record) or not isinstance(network.state, dict):
        raise UserError("has a network without a state; it is damaged")
    return network.state


def _variables(state: dict[str, Any], file_size: int) -> dict[str, Tensor]:
    return as_tensors(((name, value) for name, value in state["variables"]), file_size)


def _renamed(variables: Mapping[str, Tensor], rename: Callable[[str], Renamed]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in variables.items():
        found = rename(name)
        if found is None:
            raise UserError(f"has the tensor {shown(name)}, which this program's networks do not have")
        ours, convert = found
        yield ours, convert(tensor)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _dense(weight: Tensor) -> Tensor:
    """`[in, out]` to `[out, in]`."""
    return weight.t()


def _convolution(weight: Tensor) -> Tensor:
    """`[kh, kw, in, out]` to `[out, in, kh, kw]`."""
    return weight.permute(3, 2, 0, 1)


def _enlarging(weight: Tensor) -> Tensor:
    """As `_convolution`; what correlates becomes what convolves."""
    return _convolution(weight).flip([2, 3])


def _style_bias(bias: Tensor) -> Tensor:
    """A style is one plus what is learned."""
    return bias + 1


_AFFINE = {"mod_weight": ("affine.weight", _dense), "mod_bias": ("affine.bias", _style_bias), "bias": ("bias", _same)}


def _average_name(name: str) -> Renamed:
    return ("mapping.w_avg", _same) if name == "dlatent_avg" else None


def _mapping_name(name: str) -> Renamed:
    if match := re.fullmatch(r"Dense(\d{1,2})/(weight|bias)", name):
        return f"mapping.fc{match[1]}.{match[2]}", _dense if match[2] == "weight" else _same
    return None


def _synthesis_name(name: str) -> Renamed:
    if name == "4x4/Const/const":
        return "synthesis.b4.const", lambda const: const[0]
    if match := re.fullmatch(r"noise(\d{1,2})", name):
        index = int(match[1])
        layer = f"synthesis.b{4 << (index + 1) // 2}.conv{0 if index % 2 else 1}"
        return f"{layer}.noise_const", lambda noise: noise[0, 0]
    if not (match := re.fullmatch(r"(\d{1,5})x\1/(Conv|Conv0_up|Conv1|ToRGB|Skip)/(\w+)", name)):
        return None
    side, layer, kind = match.groups()
    block = f"synthesis.b{side}"
    if layer == "Skip":
        return (f"{block}.skip.weight", _enlarging) if kind == "weight" else None
    ours = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}[layer]
    kinds = _AFFINE | {"weight": ("weight", _enlarging if layer == "Conv0_up" else _convolution)}
    if layer != "ToRGB":
        kinds["noise_strength"] = ("noise_strength", lambda strength: strength.reshape([]))
    if kind not in kinds:
        return None
    return f"{block}.{ours}.{kinds[kind][0]}", kinds[kind][1]


def _discriminator_name(name: str) -> Renamed:
    ends = {"4x4/Conv": "b4.conv", "4x4/Dense0": "b4.fc", "Output": "b4.out"}
    layer, _, kind = name.rpartition("/")
    if kind not in ("weight", "bias"):
        return None
    if layer in ends:
        weight = _convolution if layer == "4x4/Conv" else _dense
        return f"{ends[layer]}.{kind}", weight if kind == "weight" else _same
    if not (match := re.fullmatch(r"(\d{1,5})x\1/(FromRGB|Conv0|Conv1_down|Skip)", layer)):
        return None
    ours = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip"}[match[2]]
    return f"b{match[1]}.{ours}.{kind}", _convolution if kind == "weight" else _same
