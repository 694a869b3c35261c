"""Pickles of StyleGAN2-ADA, of StyleGAN2 networks from StyleGAN3's repository, of QC-StyleGAN, and of CREPS.

Each network is an object that carries its source code along (never looked at here) and its attributes: parameters,
buffers, modules, which are such objects again, and the arguments that it was made with.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dnnlib.errors import UserError
from networks.published.contents import NetworkContent, Published, as_tensors, require_options, shown
from networks.published.creps_architecture import creps_content, is_creps
from networks.published.modules import Modules, common_clamp, require_known_modules
from torch_utils.untrusted.pickles import Record
from torch_utils.untrusted.torch_files import InertFile

DESCRIPTION = "pickle of StyleGAN2-ADA or StyleGAN3's repository"
_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
_STREAMS = {"D": "sharp", "D_degraded": "degraded"}
_DEEPEST, _MOST_MODULES = 8, 4096

_WITH_ACTIVATION = {"activation": (None, "lrelu", "linear")}
_RESAMPLED = {"resample_filter": ([1, 3, 3, 1],)}
_SHAPES = (
    *("z_dim", "c_dim", "w_dim", "q_dim", "img_resolution", "img_channels", "architecture", "channel_base"),
    *("channel_max", "cmap_dim", "num_layers", "embed_features", "layer_features", "mbstd_num_channels"),
)
_PRECISION = ("num_fp16_res", "conv_clamp", "fp16_channels_last", "fused_modconv_default")
_TRAINING = ("freeze_layers", "w_avg_beta", "mbstd_group_size")
_FREE = (*_SHAPES, *_PRECISION, *_TRAINING)
_GROUPS = ("mapping_kwargs", "synthesis_kwargs", "block_kwargs", "epilogue_kwargs")
_POSITIONAL = {
    "Generator": ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"),
    "Discriminator": ("c_dim", "img_resolution", "img_channels"),
}

Options = dict[str, Mapping[str, Any]]  # options by group of arguments, and those in none as ""


def recognises(content: Any) -> bool:
    """Whether this is a network of that kind, or a dict with some."""
    return any(_is_network(value) for value in _by_name(content).values())


def read(file: InertFile) -> Published:
    """Return the generator, its moving average where there is one, and the discriminators."""
    networks = {name: value for name, value in _by_name(file.content).items() if _is_network(value)}
    G = networks.get("G_ema", networks.get("G"))
    if G is None:
        raise UserError("has no generator (G_ema or G) in it")
    discriminators = {stream: networks[name] for name, stream in _STREAMS.items() if name in networks}
    return Published(
        _generator(G, file.size), {stream: _discriminator(D, file.size) for stream, D in discriminators.items()}
    )


def _generator(network: Record, file_size: int) -> NetworkContent:
    modules, options = _described(network, "Generator")
    if any(name.startswith("synthesis.input.") for name, _ in _tensors(modules)):
        raise UserError("has an alias-free generator of StyleGAN3; only those of its config stylegan2 are read")
    lr = {name: value for name, value in options["mapping_kwargs"].items() if name == "lr_multiplier"}
    settings = {f"mapping.{name}": value for name, value in lr.items()}
    if is_creps(dict(_tensors(modules))):
        return creps_content(as_tensors(_tensors(modules), file_size), settings | _clamp(modules))
    _require_options(options, {"use_noise": (True,)}, {"mapping_kwargs": ("lr_multiplier",)})
    settings |= _settings(modules, options)
    for prefix, attributes in modules:  # the two repositories differ in what they leave out
        if prefix == "mapping." and attributes.get("w_avg_beta") is not None:
            settings["mapping.w_avg_beta"] = attributes["w_avg_beta"]
    return NetworkContent(as_tensors(_tensors(modules), file_size), settings)


def _discriminator(network: Record, file_size: int) -> NetworkContent:
    modules, options = _described(network, "Discriminator")
    tensors = as_tensors(_tensors(modules), file_size)
    # Converted networks say 0.1, of layers that only classes have.
    unused = () if "mapping.fc0.weight" in tensors else ("lr_multiplier",)
    _require_options(options, {"lr_multiplier": (0.01,)}, {"mapping_kwargs": unused})
    settings = _settings(modules, options)
    if "mbstd_group_size" in options["epilogue_kwargs"]:
        settings["mbstd_group_size"] = options["epilogue_kwargs"]["mbstd_group_size"]
    return NetworkContent(tensors, settings)


def _by_name(content: Any) -> dict[str, Any]:
    return content if isinstance(content, dict) else {"G": content}


def _is_network(value: Any) -> bool:
    return isinstance(value, Record) and value.name == _PERSISTENT


def _described(network: Record, kind: str) -> tuple[Modules, Options]:
    """Return the attributes of all modules, with their prefixes, and the arguments that the network was made with."""
    if _class_name(network) != kind:
        raise UserError(f"has a {shown(_class_name(network))} in the place of a {kind}")
    modules = list(_modules(network))
    attributes = modules[0][1]
    arguments = dict(zip(_POSITIONAL[kind], attributes.get("_init_args", ()), strict=False))
    arguments |= attributes.get("_init_kwargs", {})
    options: Options = {"": {name: value for name, value in arguments.items() if name not in _GROUPS}}
    options |= {group: arguments.get(group) or {} for group in _GROUPS}
    require_known_modules(modules)
    return modules, options


def _require_options(options: Options, fixed: Mapping[str, tuple], free: Mapping[str, Iterable[str]]) -> None:
    """Raise UserError for an option that networks here do not have; each group of arguments is for other modules."""
    for group, given in options.items():
        require_options(given, {**_WITH_ACTIVATION, **_RESAMPLED, **fixed}, (*_FREE, *free.get(group, ())))


def _modules(network: Record) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (prefix, attributes) of a network and all modules in it, each before those within."""
    waiting, count = [("", network)], 0
    while waiting:
        prefix, module = waiting.pop()
        count += 1
        if count > _MOST_MODULES or prefix.count(".") > _DEEPEST:
            raise UserError("has modules within modules beyond any network; it is not opened")
        attributes = _attributes(module)
        yield prefix, attributes
        inner = attributes.get("_modules") or {}
        waiting += [(f"{prefix}{name}.", part) for name, part in reversed(inner.items()) if part is not None]


def _attributes(module: Any) -> dict[str, Any]:
    state = module.args[0].get("state") if _is_network(module) else getattr(module, "state", None)
    if not isinstance(state, dict):
        raise UserError("has something without attributes in the place of a module; it is damaged")
    return state


def _class_name(network: Record) -> Any:
    meta = network.args[0]
    return meta.get("class_name") if isinstance(meta, dict) else None


def _tensors(modules: Modules) -> Iterator[tuple[str, Any]]:
    """Yield (name, tensor) of all parameters and buffers."""
    for prefix, attributes in modules:
        for kind in ("_parameters", "_buffers"):
            for name, tensor in (attributes.get(kind) or {}).items():
                if tensor is not None:
                    yield f"{prefix}{name}", tensor


def _settings(modules: Modules, options: Options) -> dict[str, Any]:
    """Return what both networks have: widths as they were asked for, the clamp, and how many blocks used float16."""
    asked = {**options[""], **options["synthesis_kwargs"]}  # one repository has them in the group, the other beside it
    settings: dict[str, Any] = {name: asked[name] for name in ("channel_base", "channel_max") if name in asked}
    if asked.get("num_fp16_res"):
        settings["precision.blocks"] = asked["num_fp16_res"]
    return settings | _clamp(modules)


def _clamp(modules: Modules) -> dict[str, Any]:
    clamp = common_clamp(modules)
    return {} if clamp is None else {"precision.conv_clamp": clamp}
